"""The choice of a provider, breakers and pauses, and the system checks of providers."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from demo.eventually import eventually
from mail import checks
from mail.models import Provider
from mail.providers import breakers, select
from tests.support.concurrency import in_threads, waiting_for_locks
from tests.support.factories import disconnected
from tests.support.mail.sending import NOBODY, provider, sending_by
from tests.support.timeouts import PATIENCE

pytestmark = pytest.mark.django_db

MILLISECOND, HOUR = timedelta(milliseconds=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def two(settings: Any) -> Iterator[None]:
    with sending_by(settings, provider(NOBODY, "first"), provider(NOBODY, "second")):
        yield


def chosen(importance: str = "normal", **options: Any) -> str | None:
    found = select.choose(importance, **options)
    return found and found.name


def fail(name: str, times: int = breakers.FAILURES_IN_A_ROW, **options: Any) -> list[bool]:
    return [breakers.record_failure(name, "refused", **options) for _ in range(times)]


def set_open_until(name: str, seconds: float) -> None:
    Provider.objects.filter(name=name).update(open_until=timezone.now() + timedelta(seconds=seconds))
    breakers.invalidate_cache()


def test_the_first_provider_is_chosen_while_nothing_is_wrong_with_it() -> None:
    assert chosen() == "first"
    assert chosen(excluded={"first"}) == "second"
    assert chosen(last={"first"}) == "second"
    assert chosen(excluded={"first", "second"}) is None


def test_a_breaker_opens_at_the_fifth_failure_in_a_row_and_says_so_once() -> None:
    assert fail("first", 7) == [False] * 4 + [True] + [False] * 2
    assert chosen() == "second"


def test_a_success_resets_the_count_of_failures() -> None:
    fail("first", 4)
    breakers.record_success("first")
    assert not any(fail("first", 4))
    assert chosen() == "first"


def test_a_fault_of_the_account_opens_at_once() -> None:
    assert fail("first", 1, at_once=True) == [True]
    assert chosen() == "second"


def test_one_message_probes_an_open_breaker_that_is_due() -> None:
    fail("first")
    set_open_until("first", -1)
    found = select.choose("normal")
    assert found
    assert (found.name, found.probing) == ("first", True)
    assert chosen() == "second"


def test_a_failed_probe_doubles_the_time() -> None:
    fail("first")
    for expected in (60, 120, 240, 480, 600, 600):
        set_open_until("first", -1)
        before = timezone.now()
        assert fail("first", 1, probing=True) == [False]
        wait = timedelta(seconds=expected)
        # SQLite's clock counts milliseconds.
        assert before + wait - MILLISECOND <= Provider.objects.get(name="first").open_until
        assert Provider.objects.get(name="first").open_until <= timezone.now() + wait + MILLISECOND


def test_a_successful_probe_closes_the_breaker() -> None:
    fail("first")
    assert breakers.record_success("first")
    assert not breakers.record_success("first")
    assert chosen() == "first"


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time.")
def test_a_success_while_it_opens_leaves_no_half_open_breaker() -> None:
    """A row with only one of opened_at and open_until would never be tried again."""
    fail("first", 1)
    opening, enough = threading.Event(), threading.Event()

    def open_slowly() -> None:
        with transaction.atomic():
            breakers.record_failure("first", "refused", at_once=True)
            opening.set()
            enough.wait(PATIENCE)

    def succeed() -> None:
        assert opening.wait(PATIENCE)
        threading.Thread(target=let_it_end_when_waited_for).start()
        breakers.record_success("first")

    def let_it_end_when_waited_for() -> None:
        with disconnected():
            eventually(waiting_for_locks, PATIENCE, "the success waiting for the failure")
            enough.set()

    in_threads(open_slowly, succeed)
    found = Provider.objects.get(name="first")
    assert (found.opened_at is None) == (found.open_until is None)


def test_an_open_breaker_without_open_until_is_tried_at_once() -> None:
    """Such rows were left by earlier releases."""
    fail("first")
    Provider.objects.filter(name="first").update(open_until=None)
    breakers.invalidate_cache()
    found = select.choose("normal")
    assert found
    assert (found.name, found.probing) == ("first", True)


def test_changes_by_other_processes_are_seen_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(breakers, "time", SimpleNamespace(monotonic=lambda: now))
    breakers.invalidate_cache()
    assert chosen() == "first"
    Provider.objects.create(name="first", opened_at=timezone.now(), open_until=timezone.now() + timedelta(hours=1))
    assert chosen() == "first"
    now += 1
    assert chosen() == "second"


OPEN = [lambda: fail("first")]
DUE = [*OPEN, lambda: set_open_until("first", -1)]
CHANGES: dict[str, tuple[list[Callable[[], object]], Callable[[], object], Callable[[], object]]] = {
    "record_failure": ([], lambda: fail("first"), lambda: breakers.state_of("first").opened_at),
    "record_success": (OPEN, lambda: breakers.record_success("first"), lambda: chosen() == "first"),
    "open_by_hand": ([], lambda: breakers.open_by_hand("first", "x"), lambda: breakers.state_of("first").opened_at),
    "reserve_probe": (DUE, lambda: breakers.reserve_probe("first"), lambda: select.next_free_at("normal", {"second"})),
    "pause": ([], lambda: breakers.pause("first", HOUR, "429"), lambda: breakers.state_of("first").paused_until),
    "slow_domain": ([], lambda: breakers.slow_domain("a.org", HOUR), lambda: breakers.slow_until("a.org")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_process_sees_its_own_changes_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "CACHE_SECONDS", 3600)
    before, change, changed = CHANGES[name]
    for step in before:
        step()
    assert breakers.state_of("second").name == "second"  # all rows are read now
    change()
    assert changed()


def test_the_longer_of_two_pauses_counts() -> None:
    breakers.pause("first", timedelta(hours=2), "429")
    breakers.pause("first", timedelta(hours=1), "429")
    assert (chosen("critical"), chosen("normal"), chosen("bulk")) == ("second", "second", None)
    free = select.next_free_at("bulk")
    assert free
    assert timedelta(hours=1.5) < free - timezone.now() <= timedelta(hours=2)
    assert select.next_free_at("normal") is None


def test_no_provider_is_free_when_all_breakers_are_open() -> None:
    fail("first", 1, at_once=True)
    breakers.pause("second", timedelta(hours=1), "429")
    assert chosen() is None
    assert not select.other_is_free(set(), "")
    free = select.next_free_at("normal")
    assert free
    assert free - timezone.now() <= timedelta(hours=1)


def test_a_domain_is_slowed_down_for_a_while() -> None:
    breakers.slow_domain("example.org", timedelta(minutes=15))
    assert breakers.slow_until("example.org")
    assert not breakers.slow_until("example.com")
    breakers.slow_domain("example.org", timedelta(0))
    assert not breakers.slow_until("example.org")


def test_a_check_names_the_variables_that_are_missing(settings: Any) -> None:
    found = provider(NOBODY, "second", api_key="")
    settings.MAIL_PROVIDERS = [found, provider(NOBODY, "other", backend="anymail.backends.sendgrid.EmailBackend")]
    settings.MAIL_ALERT_TO = "somebody"
    said = [str(warning.msg).split()[0] for warning in checks.providers_are_complete(None)]
    assert said == ["SECOND_API_KEY", "SECOND_WEBHOOK_SIGNING_KEY"]
    assert [warning.id for warning in checks.alert_recipient_is_valid(None)] == ["mail.W002"]


def test_a_check_says_which_backend_does_not_exist(settings: Any) -> None:
    assert checks.providers_exist(None) == []
    settings.MAIL_PROVIDERS = [provider(NOBODY, "sendgird", backend="anymail.backends.sendgird.EmailBackend")]
    [error] = checks.providers_exist(None)
    assert (error.id, "sendgird" in error.msg) == ("mail.E001", True)


@pytest.mark.parametrize("told", ["", "ops@example.org", "https://hooks.example.org/x"])
def test_a_check_accepts_addresses_and_urls_for_alerts(settings: Any, told: str) -> None:
    settings.MAIL_ALERT_TO = told
    assert checks.alert_recipient_is_valid(None) == []
