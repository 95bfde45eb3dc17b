"""Sending that was interrupted: what the next run does, and that nothing is recorded partially."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import requests
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from demo.eventually import eventually
from jobs.errors import RetryAfter
from jobs.models import Job
from mail import alerts
from mail.events import apply, ingest, lookups
from mail.events.provider_event import ProviderEvent, from_mailgun
from mail.models import Alert, Attachment, Attempt, Message, Provider
from mail.providers import breakers
from mail.sending import send
from mail.sending.batches import begin
from tests.support.concurrency import disconnecting, in_threads, waiting_for_locks
from tests.support.mail.mailgun_webhooks import failure, make_event
from tests.support.mail.messages import make_message
from tests.support.mail.sending import NOBODY, classes, provider, sending_by, work_on
from tests.support.servers.simulator import Simulator
from tests.support.timeouts import PATIENCE

pytest_plugins = ["tests.support.mail.simulator_fixtures"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("mailgun")]

HOUR = 3600


def test_an_attempt_whose_process_died_is_looked_up_first(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_SETTLED_AFTER = timedelta(hours=1)
    message = make_message()
    attempt = message.begin_attempt("mailgun")
    assert 0 < work_on(message) <= HOUR
    attempt.refresh_from_db()
    assert (attempt.outcome, message.status) == ("ambiguous", "sending")


class Killed(BaseException):
    """Stands for SIGKILL."""


def die(*_: object, **__: object) -> None:
    raise Killed


def test_a_crash_before_the_alert_does_not_give_the_message_up(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = make_message(expires_at=timezone.now(), importance="critical")
    refused = make_message(importance="critical")
    mailgun.fault("400")
    with monkeypatch.context() as patched:
        patched.setattr(alerts, "alert", die)
        for message in (expired, refused):
            with pytest.raises(Killed):
                send.send(message.pk)
    assert list(Message.objects.order_by("pk").values_list("status", flat=True)) == ["queued", "sending"]
    assert classes(refused) == [("", "")]
    work_on(expired)
    assert (expired.status, Alert.objects.get().kind) == ("expired", "expired")


@pytest.mark.parametrize(("fault", "victim"), [("429", "pause"), ("401", "record_failure")])
def test_a_crash_before_a_failure_s_consequences_records_no_failure(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch, fault: str, victim: str
) -> None:
    mailgun.fault(fault)
    message = make_message()
    with monkeypatch.context() as patched:
        patched.setattr(breakers, victim, die)
        with pytest.raises(Killed):
            send.send(message.pk)
    assert classes(message) == [("", "")]


def test_an_event_during_a_call_overrides_the_failure_of_the_call(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event submits a second job for critical mail; the first job must not send it earlier."""

    def hear_and_fail(message: Message, attempt: Attempt, _: object) -> str:
        taken = ingest.ingest(from_mailgun(failure(attempt, reason="old", code=602)))
        assert taken
        apply.apply(taken.pk)
        raise requests.ReadTimeout

    message = make_message(importance="critical")
    with monkeypatch.context() as patched:
        patched.setattr(send, "_hand_over", hear_and_fail)
        assert work_on(message) == 0
    assert (message.status, classes(message)) == ("queued", [("accepted", "")])
    assert not Provider.objects.exists()
    assert Job.objects.get(kind="mail.send").pk == message.job_id


def test_an_event_about_a_probe_closes_the_breaker_even_if_its_call_fails_later(
    mailgun: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider has taken the message: other mail need not wait until the probe's time is over."""

    def take_and_time_out(message: Message, attempt: Attempt, _: object) -> str:
        taken = ingest.ingest(from_mailgun(make_event(attempt)))
        assert taken
        apply.apply(taken.pk)
        raise requests.ReadTimeout

    settings.MAIL_PROBE_AFTER = 0
    breakers.record_failure("mailgun", "it was away", at_once=True)
    message, other = make_message(), make_message()
    with monkeypatch.context() as patched:
        patched.setattr(send, "_hand_over", take_and_time_out)
        assert work_on(message) == 0
    assert (message.status, Provider.objects.get().opened_at) == ("delivered", None)
    assert work_on(other) == 0
    assert other.status == "sent"


def test_a_cancelled_message_is_not_sent(mailgun: Simulator) -> None:
    message = make_message()
    message.cancel()
    work_on(message)
    assert (message.status, mailgun.account(message.pk)["calls"]) == ("cancelled", 0)


def test_the_result_of_a_lookup_is_as_old_as_its_beginning(
    mailgun: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lookup takes an hour: an answer from its end would count as settled, but this one is from its beginning."""

    def an_hour_passes(attempt: Attempt, _: object) -> list[ProviderEvent]:
        attempt.started_at -= timedelta(hours=1)
        return []

    settings.MAIL_SETTLED_AFTER = timedelta(hours=1)
    monkeypatch.setattr(lookups, "events_of_attempt", an_hour_passes)
    message = make_message()
    message.begin_attempt("mailgun")
    assert work_on(message) > 0
    assert mailgun.account(message.pk)["calls"] == 0


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite in memory has one connection, and one writer anyway.")
@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_make_one_call(mailgun: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have decided to call the provider before either has stored its attempt."""
    message, both, begin_attempt = make_message(), Barrier(2), Message.begin_attempt

    def begin_together(self: Message, *args: str) -> Attempt:
        both.wait(PATIENCE)
        return begin_attempt(self, *args)

    monkeypatch.setattr(Message, "begin_attempt", begin_together)
    in_threads(*[lambda: work_on(Message.objects.get(pk=message.pk), prepared=False)] * 2)
    message.refresh_from_db()
    assert (message.status, classes(message)) == ("sent", [("accepted", "")])
    assert mailgun.account(message.pk)["calls"] == 1
    assert not both.broken


def test_a_run_during_the_call_of_another_makes_none(
    mailgun: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run finds the first's attempt without an outcome, which may still be in its call."""
    settings.MAIL_SETTLED_AFTER = timedelta(hours=1)
    message, waits, hand_over = make_message(), [], send._hand_over

    def run_meanwhile(*args: Any) -> str:
        waits.append(work_on(Message.objects.get(pk=message.pk)))
        return hand_over(*args)

    monkeypatch.setattr(send, "_hand_over", run_meanwhile)
    assert work_on(message) == 0
    assert [wait > 0 for wait in waits] == [True]
    assert (message.status, classes(message)) == ("sent", [("accepted", "")])
    assert mailgun.account(message.pk)["calls"] == 1


def test_a_database_error_before_the_call_leaves_nothing_ambiguous(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    message = make_message()
    Attachment.objects.create(message=message, filename="a.txt", content_type="text/plain", content=b"Hi")
    with monkeypatch.context() as patched:
        patched.setattr(Attachment, "from_db", fail)
        with pytest.raises(OperationalError):
            send.send(message.pk)
    assert not message.attempts.exists()
    work_on(message)
    assert (message.status, classes(message)) == ("sent", [("accepted", "")])


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no locks of rows.")
@pytest.mark.django_db(transaction=True)
def test_a_failure_and_an_event_of_one_message_lock_it_in_the_same_order(settings: Any) -> None:
    message = make_message()

    def fail() -> None:
        with pytest.raises(RetryAfter):
            send.send(call)

    with sending_by(settings, provider(NOBODY)):
        call = begin([message.pk])[message.pk]
        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            message.lock()
            failing = pool.submit(disconnecting, fail)
            eventually(waiting_for_locks, PATIENCE, "the failure waiting for the message")
            Attempt.objects.select_for_update(nowait=True).get(message=message)
        failing.result()
