"""Reconciliation: events without a webhook are read, and messages that lost their job get another."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError
from django.utils import timezone

from demo.eventually import eventually
from jobs.models import Job
from mail import maintenance
from mail.events import apply, event_log, ingest
from mail.events.reconciliation import reconcile
from mail.models import Alert, Attempt, Event, EventLogPosition, Message, Suppression
from mail.submit import build_draft, store
from tests.support.claims import claim_for_pools
from tests.support.factories import do_all_chores
from tests.support.mail.mailgun_webhooks import make_attempt
from tests.support.mail.messages import make_message
from tests.support.mail.sending import provider, sending_by, work_on
from tests.support.servers.simulator import DOMAIN, Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]
pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
FURTHER_DOMAIN = "further.example"
"""From which the simulator takes mail too."""


@pytest.fixture(autouse=True)
def _settled_at_once(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_SETTLED_AFTER = timedelta(0)


def silent(mailgun: Simulator, address: str = "ada@example.org", events: int = 2, **fields: Any) -> Message:
    """A sent message with events that no webhook has reported."""
    message = make_message(address=address, to=address, **fields)
    work_on(message)
    mail_id = message.attempts.get().provider_message_id

    def told() -> bool:
        """True once the log, which is read up to the last whole second, holds all events."""
        found = mailgun.message(mail_id)["events"]
        return len(found) >= events and int(time.time()) > found[-1]["timestamp"]

    eventually(told, 60, "the mail's fate")
    return message


def apply_all() -> None:
    for event in Event.objects.filter(applied_at=None, source=Event.Source.LOOKUP):
        apply.apply(event.pk)


def read_again(since: timedelta = HOUR) -> dict[str, int]:
    EventLogPosition.objects.update(read_until=timezone.now() - since)
    return reconcile()


def test_an_event_without_a_webhook_is_read_in_the_event_log(mailgun: Simulator) -> None:
    message = silent(mailgun)
    assert reconcile() == {"jobs": 0, "alerts": 0, "read": 1, "new": 1}
    apply_all()
    message.refresh_from_db()
    assert message.status == "delivered"
    assert list(message.events.values_list("source", "type")) == [("lookup", "delivered")]


@pytest.mark.parametrize(
    ("local_part", "status", "reasons"),
    [
        ("bounce", "bounced", {"bounce"}),
        ("complain", "complained", {"complaint"}),
        ("unsubscribe", "delivered", {"unsubscribe"}),
        ("delayed-bounce", "bounced", {"bounce"}),
    ],
)
def test_events_after_the_delivery_are_read_too(
    mailgun: Simulator, local_part: str, status: str, reasons: set[str]
) -> None:
    message = silent(mailgun, f"{local_part}@example.org", events=2)
    if local_part != "bounce":
        eventually(lambda: reconcile()["new"], 60, "the delivery")
        apply_all()
        assert Message.objects.get().status in ("delivered", status)
    eventually(lambda: read_again() and not apply_all() and Suppression.objects.exists(), 60, "the end")
    message.refresh_from_db()
    assert message.status == status
    assert set(Suppression.objects.values_list("reason", flat=True)) == reasons


def test_the_log_is_read_on_from_where_it_was_read_to(mailgun: Simulator) -> None:
    silent(mailgun)
    assert reconcile()["read"] == 1
    position = EventLogPosition.objects.get()
    assert (position.provider, position.domain) == ("mailgun", DOMAIN)
    assert timezone.now() - position.read_until < timedelta(minutes=1)
    assert read_again() == {"jobs": 0, "alerts": 0, "read": 1, "new": 0}
    assert Event.objects.count() == 1


def test_events_that_are_indexed_late_are_not_missed(mailgun: Simulator, settings: Any) -> None:
    """The log is read up to MAIL_SETTLED_AFTER ago: events are indexed late and out of order."""
    settings.MAIL_SETTLED_AFTER = timedelta(seconds=3)
    mailgun.configure(index_delay=2)
    messages = [silent(mailgun, f"a{number}@example.org") for number in range(5)]
    news = 0

    def all_known() -> bool:
        nonlocal news
        news += reconcile()["new"]
        return news == len(messages)

    eventually(all_known, 60, "an event of each message")


def test_a_round_that_fails_goes_on_with_the_page_where_it_was(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "PER_PAGE", 2)
    for number in range(5):
        silent(mailgun, f"a{number}@example.org")
    taken: list[int] = []
    ingest_many = ingest.ingest_many

    def fail_at_the_second_page(reports: list[Any], source: str) -> Any:
        taken.append(len(reports))
        if len(taken) == 2:
            raise OperationalError
        return ingest_many(reports, source)

    monkeypatch.setattr(ingest, "ingest_many", fail_at_the_second_page)
    with pytest.raises(OperationalError):
        reconcile()
    assert Event.objects.count() == 2
    assert reconcile()["new"] == 3
    assert taken[0] == 2


def test_an_event_that_cannot_be_stored_does_not_stop_the_log(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, *_ = [silent(mailgun, f"a{number}@example.org") for number in range(3)]
    ingest_many = ingest.ingest_many

    def choke(reports: list[Any], source: str) -> Any:
        if any(report.recipient == bad.address for report in reports):
            raise DataError
        return ingest_many(reports, source)

    monkeypatch.setattr(ingest, "ingest_many", choke)
    assert reconcile()["new"] == 2
    assert reconcile()["read"] == 0


def test_mail_in_the_log_that_is_not_ours_is_ignored(mailgun: Simulator) -> None:
    message = silent(mailgun)
    Message.objects.filter(pk=message.pk).delete()
    make_message()
    assert reconcile() == {"jobs": 0, "alerts": 0, "read": 1, "new": 0}
    assert not Event.objects.exists()


def test_the_log_of_a_removed_domain_is_read_for_some_days(mailgun: Simulator, settings: Any) -> None:
    reconcile()
    message = silent(mailgun)
    with sending_by(settings, provider(mailgun.api_url, sender_domain=FURTHER_DOMAIN)):
        assert read_again()["new"] == 1
        apply_all()
        EventLogPosition.objects.filter(domain=DOMAIN).update(configured_at=timezone.now() - timedelta(days=6))
        assert read_again()["read"] == 0
    message.refresh_from_db()
    assert message.status == "delivered"


def test_a_log_that_cannot_be_read_is_read_in_the_next_round(mailgun: Simulator) -> None:
    silent(mailgun)
    mailgun.fault("500", on="events")
    assert reconcile()["new"] == 0
    assert reconcile()["new"] == 1


def test_a_key_that_may_not_read_events_is_an_alert_once(mailgun: Simulator) -> None:
    silent(mailgun)
    mailgun.fault("401", on="events", times=2)
    assert [reconcile()["new"] for _ in range(3)] == [0, 0, 1]
    alert = Alert.objects.get()
    assert (alert.kind, alert.provider) == ("events_not_readable", "mailgun")


def test_the_log_is_read_when_a_cluster_starts_so_that_a_missing_right_is_noticed(mailgun: Simulator) -> None:
    """All maintenance tasks are due at the start of a cluster."""
    make_message("delivered")
    do_all_chores()
    assert Job.objects.filter(kind="mail.reconcile").count() == 1


@pytest.mark.parametrize("importance", ["normal", "bulk"])
def test_ambiguous_mail_that_cannot_be_looked_up_ends_with_an_alert(
    mailgun: Simulator, settings: Any, importance: str
) -> None:
    settings.MAIL_SETTLED_AFTER = timedelta(minutes=30)
    mailgun.fault("401", on="events", times=None)
    mailgun.fault("drop")
    message = make_message(importance=importance)
    work_on(message, 2)
    assert message.status == "sending"
    assert Alert.objects.get().kind == "events_not_readable"
    Attempt.objects.update(started_at=timezone.now() - timedelta(days=1))
    work_on(message)
    assert message.status == "failed"
    assert set(Alert.objects.values_list("kind", flat=True)) == {"events_not_readable", "never_cleared_up"}


def test_lost_jobs_and_late_mail_come_before_the_event_logs(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(event_log, "read_logs", hang)
    past = timezone.now() - HOUR
    make_attempt(make_message("deferred", importance="critical", sent_at=past))
    make_message(created_at=past)
    with pytest.raises(TimeoutError):
        reconcile()
    assert Job.objects.filter(kind="mail.send").exists()
    assert Alert.objects.get().kind == "deferred"


@pytest.mark.parametrize("fate", ["is pruned", "is cancelled", "has succeeded", "was never there"])
def test_a_message_that_lost_its_job_gets_another(fate: str) -> None:
    message = Message(
        to="ada@example.org", address="ada@example.org", sender="l@mg.example.org", subject="Hi", text="x"
    )
    store([build_draft(message, now=timezone.now())])
    job = Job.objects.get()
    if fate == "is pruned":
        job.delete()
    elif fate == "is cancelled":
        job.cancel()
    elif fate == "has succeeded":
        claim_for_pools("here:1", {"mail.send": 1})[0].succeed(None)
    else:
        Message.objects.update(job_id=None)
    assert reconcile()["jobs"] == 0
    Message.objects.update(created_at=timezone.now() - HOUR)
    assert reconcile()["jobs"] == 1
    assert reconcile()["jobs"] == 0
    message.refresh_from_db()
    assert Job.objects.unfinished().filter(pk=message.job_id).exists()


def test_a_message_that_has_its_job_or_its_time_ahead_is_left_alone() -> None:
    later = timezone.now() + HOUR
    store(
        [build_draft(Message(to="a@b.c", address="a@b.c", sender="l@mg.example.org", subject="x"), now=timezone.now())]
    )
    make_message("scheduled", send_at=later, created_at=timezone.now() - HOUR)
    Message.objects.update(created_at=timezone.now() - HOUR)
    assert reconcile()["jobs"] == 0


def test_critical_mail_that_is_deferred_for_long_alerts_once() -> None:
    long_ago = timezone.now() - timedelta(minutes=16)
    make_message("deferred", importance="critical", sent_at=long_ago)
    make_message("deferred", importance="normal", sent_at=long_ago)
    make_message("deferred", importance="critical", sent_at=timezone.now())
    assert [reconcile()["alerts"] for _ in range(2)] == [1, 0]
    assert Alert.objects.get().kind == "deferred"


def test_the_maintenance_task_submits_one_job_where_there_is_mail_also_when_all_is_finished() -> None:
    maintenance.reconciliation()
    assert not Job.objects.exists()
    make_message("delivered")
    for _ in range(2):
        maintenance.reconciliation()
    assert Job.objects.get().kind == "mail.reconcile"
