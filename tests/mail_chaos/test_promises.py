"""What is promised of each message of a mail chaos, and that a promise which is broken is found."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from mail.simulator import outcomes
from mail.simulator.faults import KINDS
from tests.mail_chaos import promises
from tests.mail_chaos.actual import Actual, broken_promises
from tests.mail_chaos.plan import CALLS, FINE, OUTCOMES, STOPPING, WEBHOOKS, Planned, plan
from tests.mail_chaos.promises import PAGE, Page, Promise, promise

pytestmark = pytest.mark.django_db

MANY = 10_000
page = Page(PAGE.read_text())


def planned(**fields: Any) -> Planned:
    usual = {"address": "ada@example.org", "importance": "normal", "in_broadcast": False}
    return Planned(**usual | {"outcome": FINE, "call": "", "webhooks": ""} | fields)


def promised(**fields: Any) -> Promise:
    return promise(planned(**fields), page)


def kept(promised: Promise, importance: str = "normal") -> Actual:
    """An outcome that breaks nothing."""
    return Actual(
        status=promised.status,
        importance=importance,
        possible_duplicate=False,
        copies=promised.copies,
        suppressions=promised.suppressions,
        alerts=promised.alerts,
        listed=frozenset({promised.listed} - {""}),
    )


def broken(promised: Promise, found: Actual) -> list[str]:
    return [what for _, what in broken_promises({"ada@example.org": promised}, {"ada@example.org": found})]


def test_the_plan_depends_on_the_seed_alone() -> None:
    assert plan(100, seed=1) == plan(100, seed=1)
    assert plan(100, seed=1) != plan(100, seed=2)


def test_each_failure_has_its_share_of_all_messages() -> None:
    messages = plan(MANY, seed=1)
    met = Counter(name for each in messages for name in (each.outcome, each.call, each.webhooks))
    assert {each.address for each in messages} == {each.address for each in plan(MANY, seed=1)}
    for failure in (*OUTCOMES, *CALLS, *WEBHOOKS):
        assert 0.04 * MANY < met[failure] < 0.06 * MANY, failure


def test_the_simulator_knows_all_that_is_planned() -> None:
    assert outcomes.OUTCOMES.keys() >= set(OUTCOMES)
    assert KINDS.keys() >= {*CALLS, *WEBHOOKS}
    assert promises.OUTCOMES.keys() == {FINE, *OUTCOMES}
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
        ({"outcome": "bounce"}, "bounced", 1),
        ({"outcome": "bounce", "call": "502-accepted", "webhooks": "lost"}, "bounced", 1),
        ({"outcome": "bounce", "call": "400"}, "rejected", 0),
        ({"outcome": "old"}, "bounced", 1),
        ({"outcome": "old", "importance": "critical"}, "bounced", 2),
        ({"outcome": "soft-bounce", "importance": "critical"}, "rejected", 2),
        ({"outcome": "complain"}, "complained", 1),
        ({"outcome": "unsubscribe"}, "delivered", 1),
        ({"outcome": "suppressed-bounce"}, "rejected", 1),
    ],
)
def test_the_page_says_where_a_message_ends(fields: dict[str, Any], status: str, copies: int) -> None:
    assert (promised(**fields).status, promised(**fields).copies) == (status, copies)


def test_the_page_says_who_is_suppressed_and_told() -> None:
    assert promised(outcome="mailbox-full", importance="critical").alerts == {"mailbox_full"}
    assert promised(outcome="mailbox-full").alerts == set()
    assert promised(outcome="mailbox-full").suppressions == {("mailbox_full", "all")}
    assert promised(outcome="unsubscribe").suppressions == {("unsubscribe", "bulk")}
    assert promised(outcome="old").suppressions == set()
    assert promised(outcome="espblock", importance="bulk").alerts == {"blocked"}


def test_a_page_that_is_not_understood_is_an_error() -> None:
    strange = Page("## Classes\n| `invalid` | it | | | is | what | it is |\n")
    with pytest.raises(ValueError, match="not understood"):
        strange.rule("invalid", "normal")


def test_a_kept_promise_is_not_reported() -> None:
    for outcome in promises.OUTCOMES:
        for importance in ("critical", "normal", "bulk"):
            promised_here = promised(outcome=outcome, importance=importance)
            assert broken(promised_here, kept(promised_here, importance)) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": "sent"}, "is sent, and ought to be bounced"),
        ({"copies": 0}, "was taken by the provider 0 times"),
        ({"copies": 2}, "was sent 2 times"),
        ({"copies": 2, "possible_duplicate": True}, "was sent 2 times"),
        ({"possible_duplicate": True}, "may have been sent twice"),
        ({"suppressions": frozenset()}, "ought to be suppressed: bounce (all)"),
        ({"suppressions": frozenset({("bounce", "all"), ("complaint", "all")})}, "ought not to be suppressed"),
        ({"alerts": frozenset({"hard_bounce"})}, "has an alert of hard_bounce"),
        ({"listed": frozenset()}, "is on the provider's lists: none"),
    ],
)
def test_a_broken_promise_is_reported(changes: dict[str, Any], what: str) -> None:
    promised_here = promised(outcome="bounce")
    told = broken(promised_here, replace(kept(promised_here), **changes))
    assert any(each.startswith(what) for each in told), told


def test_critical_mail_may_be_sent_twice_if_it_is_a_possible_duplicate() -> None:
    promised_here = promised(importance="critical")
    doubled = replace(kept(promised_here, "critical"), copies=2)
    assert broken(promised_here, doubled) == ["was sent 2 times, and ought to be 1 times"]
    assert broken(promised_here, replace(doubled, possible_duplicate=True)) == []


def test_mail_that_is_to_be_sent_again_may_end_as_suppressed_with_an_alert() -> None:
    promised_here = promised(outcome="soft-bounce", importance="critical")
    suppressed = replace(
        kept(promised_here, "critical"),
        status="suppressed",
        copies=1,
        suppressions=frozenset({("soft_bounces", "all")}),
    )
    assert "has no alert of suppressed" in broken(promised_here, suppressed)
    assert broken(promised_here, replace(suppressed, alerts=frozenset({"suppressed"}))) == []
    for other in ("old", "bounce"):
        one = promised(outcome=other, importance="critical")
        assert broken(one, replace(kept(one, "critical"), status="suppressed"))


def test_both_copies_of_a_possible_duplicate_may_bounce() -> None:
    promised_here = promised(outcome="soft-bounce", importance="critical")
    bounced = replace(
        kept(promised_here, "critical"), status="bounced", suppressions=frozenset({("soft_bounces", "all")})
    )
    assert "is bounced, and its second copy ought to have been refused by the provider's list" in broken(
        promised_here, bounced
    )
    assert broken(promised_here, replace(bounced, possible_duplicate=True)) == []


def test_a_lost_message_and_an_unexpected_one_are_reported() -> None:
    assert broken_promises({"ada@example.org": promised()}, {}) == [
        ("ada@example.org", "was posted and has no message")
    ]
    assert broken_promises({}, {"ada@example.org": kept(promised())}) == [
        ("ada@example.org", "has a message and was never posted")
    ]
