"""What a storm of mail (tests/mail_chaos) promises, and that its verdict finds what is broken."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from mail.simulator.faults import KINDS
from mail.simulator.outcomes import OUTCOMES
from tests.mail_chaos import promises
from tests.mail_chaos.outcome import Outcome, broken_promises
from tests.mail_chaos.plan import CALLS, FATES, FINE, STOPPING, WEBHOOKS, Planned, plan
from tests.mail_chaos.promises import PAGE, Page, Promise, promise

pytestmark = pytest.mark.django_db

MANY = 10_000
page = Page(PAGE.read_text())


def planned(**fields: Any) -> Planned:
    usual = {"address": "ada@example.org", "importance": "normal", "in_broadcast": False}
    return Planned(**usual | {"fate": FINE, "call": "", "webhooks": ""} | fields)


def promised(**fields: Any) -> Promise:
    return promise(planned(**fields), page)


def kept(promised: Promise, importance: str = "normal") -> Outcome:
    """An outcome that breaks nothing."""
    return Outcome(
        status=promised.status,
        importance=importance,
        possible_duplicate=False,
        copies=promised.copies,
        suppressions=promised.suppressions,
        alerts=promised.alerts,
        listed=frozenset({promised.listed} - {""}),
    )


def broken(promised: Promise, found: Outcome) -> list[str]:
    return [what for _, what in broken_promises({"ada@example.org": promised}, {"ada@example.org": found})]


def test_the_plan_depends_on_the_seed_alone() -> None:
    assert plan(100, seed=1) == plan(100, seed=1)
    assert plan(100, seed=1) != plan(100, seed=2)


def test_each_failure_has_its_share_of_all_messages() -> None:
    messages = plan(MANY, seed=1)
    met = Counter(name for each in messages for name in (each.fate, each.call, each.webhooks))
    assert {each.address for each in messages} == {each.address for each in plan(MANY, seed=1)}
    for failure in (*FATES, *CALLS, *WEBHOOKS):
        assert 0.04 * MANY < met[failure] < 0.06 * MANY, failure


def test_the_simulator_knows_all_that_is_planned() -> None:
    assert OUTCOMES.keys() >= set(FATES)
    assert KINDS.keys() >= {*CALLS, *WEBHOOKS}
    assert promises.FATES.keys() == {FINE, *FATES}
    assert {*promises.FAULTS, *promises.REFUSED} == set(CALLS)


def test_what_stops_all_mail_comes_in_gusts() -> None:
    calls = [each.call for each in plan(MANY, seed=1)]
    for fault in STOPPING:
        begun = sum(call == fault != before for before, call in zip(["", *calls], calls, strict=False))
        assert begun == 4


@pytest.mark.parametrize(
    ("fields", "status", "copies"),
    [
        ({}, "delivered", 1),
        ({"fate": "bounce"}, "bounced", 1),
        ({"fate": "bounce", "call": "502-accepted", "webhooks": "lost"}, "bounced", 1),
        ({"fate": "bounce", "call": "400"}, "rejected", 0),
        ({"fate": "old"}, "bounced", 1),
        ({"fate": "old", "importance": "critical"}, "bounced", 2),
        ({"fate": "soft-bounce", "importance": "critical"}, "rejected", 2),
        ({"fate": "complain"}, "complained", 1),
        ({"fate": "unsubscribe"}, "delivered", 1),
        ({"fate": "suppressed-bounce"}, "rejected", 1),
    ],
)
def test_the_page_says_where_a_message_ends(fields: dict[str, Any], status: str, copies: int) -> None:
    assert (promised(**fields).status, promised(**fields).copies) == (status, copies)


def test_the_page_says_who_is_suppressed_and_told() -> None:
    assert promised(fate="mailbox-full", importance="critical").alerts == {"mailbox_full"}
    assert promised(fate="mailbox-full").alerts == set()
    assert promised(fate="mailbox-full").suppressions == {("mailbox_full", "all")}
    assert promised(fate="unsubscribe").suppressions == {("unsubscribe", "bulk")}
    assert promised(fate="old").suppressions == set()
    assert promised(fate="espblock", importance="bulk").alerts == {"blocked"}


def test_a_page_that_is_not_understood_is_an_error() -> None:
    strange = Page("## Classes\n| `invalid` | it | | | is | what | it is |\n")
    with pytest.raises(ValueError, match="not understood"):
        strange.rule("invalid", "normal")


def test_a_promise_that_is_kept_is_not_broken() -> None:
    for fate in promises.FATES:
        for importance in ("critical", "normal", "bulk"):
            promised_here = promised(fate=fate, importance=importance)
            assert broken(promised_here, kept(promised_here, importance)) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": "sent"}, "is sent, and ought to be bounced"),
        ({"copies": 0}, "was taken by the provider 0 times"),
        ({"copies": 2}, "was sent 2 times"),
        ({"copies": 2, "possible_duplicate": True}, "was sent 2 times"),
        ({"possible_duplicate": True}, "was risked"),
        ({"suppressions": frozenset()}, "ought to be suppressed: bounce (all)"),
        ({"suppressions": frozenset({("bounce", "all"), ("complaint", "all")})}, "ought not to be suppressed"),
        ({"alerts": frozenset({"hard_bounce"})}, "has an alert of hard_bounce"),
        ({"listed": frozenset()}, "is on the provider's lists: none"),
    ],
)
def test_a_promise_that_is_broken_is_told(changes: dict[str, Any], what: str) -> None:
    promised_here = promised(fate="bounce")
    told = broken(promised_here, replace(kept(promised_here), **changes))
    assert any(each.startswith(what) for each in told), told


def test_critical_mail_may_be_doubled_if_it_says_so() -> None:
    promised_here = promised(importance="critical")
    doubled = replace(kept(promised_here, "critical"), copies=2)
    assert broken(promised_here, doubled) == ["was sent 2 times, and ought to be 1 times"]
    assert broken(promised_here, replace(doubled, possible_duplicate=True)) == []


def test_a_message_that_is_lost_or_strange_is_told() -> None:
    assert broken_promises({"ada@example.org": promised()}, {}) == [
        ("ada@example.org", "was posted and has no message")
    ]
    assert broken_promises({}, {"ada@example.org": kept(promised())}) == [
        ("ada@example.org", "has a message and was never posted")
    ]
