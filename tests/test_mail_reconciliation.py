"""Messages of which nothing is heard: providers are asked for them, and jobs are found for those that lost theirs."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from demo.eventually import eventually
from jobs.models import Job
from mail import chores, effects, lookups
from mail.models import Alert, Attempt, Event, Message
from mail.reconciliation import reconcile
from mail.submit import drafted, store
from tests.mailgun import make_attempt
from tests.mails import make_message
from tests.sending import provider, sending_by, work_on
from tests.servers.simulator import Simulator

pytest_plugins = ["tests.simulator_fixtures"]
pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def mailgun(simulator: Simulator, settings: Any) -> Iterator[Simulator]:
    with sending_by(settings, provider(simulator.api_url)):
        yield simulator


def silent(mailgun: Simulator, address: str = "ada@example.org", **fields: Any) -> Message:
    """A message that was sent, of which the provider knows more than we do, and whose time to be asked for has come."""
    message = make_message(address=address, to=address, **fields)
    work_on(message)
    mail_id = message.attempts.get().provider_message_id
    eventually(lambda: len(mailgun.message(mail_id)["events"]) > 1, 60, "the mail's fate")
    Message.objects.filter(pk=message.pk).update(look_up_at=timezone.now(), sent_at=timezone.now() - HOUR)
    return message


def apply_all() -> None:
    for event in Event.objects.filter(applied_at=None, source=Event.Source.LOOKUP):
        effects.apply(event.pk)


def test_what_no_webhook_told_is_asked_for(mailgun: Simulator) -> None:
    message = silent(mailgun)
    assert reconcile() == {"asked": 1, "news": 2, "jobs": 0, "alerts": 0}
    apply_all()
    message.refresh_from_db()
    assert message.status == "delivered"
    assert set(message.events.values_list("source", "type")) == {
        ("lookup", "accepted"),
        ("lookup", "delivered"),
        ("legwork", "looked_up"),
    }


def test_what_is_found_twice_counts_once(mailgun: Simulator) -> None:
    message = silent(mailgun)
    reconcile()
    Message.objects.filter(pk=message.pk).update(look_up_at=timezone.now())
    assert reconcile()["news"] == 0


def test_a_bounce_that_is_found_suppresses(mailgun: Simulator) -> None:
    message = silent(mailgun, "bounce@example.org")
    reconcile()
    apply_all()
    message.refresh_from_db()
    assert message.status == "bounced"


def test_the_next_time_is_twice_as_late_and_there_is_a_last_one(mailgun: Simulator) -> None:
    message = silent(mailgun)
    for age in (timedelta(hours=2), timedelta(hours=30)):
        past = timezone.now() - age
        Message.objects.filter(pk=message.pk).update(look_up_at=past, sent_at=past)
        reconcile()
        message.refresh_from_db()
        assert age * 0.99 < message.look_up_at - timezone.now() < age * 1.01
    past = timezone.now() - timedelta(days=6)
    Message.objects.filter(pk=message.pk).update(look_up_at=past, sent_at=past)
    reconcile()
    message.refresh_from_db()
    assert message.look_up_at is None


def test_a_provider_that_cannot_be_asked_is_asked_again_in_the_next_round(mailgun: Simulator) -> None:
    silent(mailgun)
    mailgun.fault("500", on="events")
    assert reconcile()["news"] == 0
    assert reconcile()["news"] == 2


def test_after_its_first_failure_a_provider_is_left_alone_for_the_round(
    mailgun: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Attempt] = []
    monkeypatch.setattr(
        lookups, "reports_of", lambda attempt, _: asked.append(attempt) if attempt.provider == "mailgun" else []
    )
    past = timezone.now() - HOUR
    for provider_name in ("mailgun", "mailgun", "backup", "backup"):
        message = make_message("sent", provider=provider_name, sent_at=past, look_up_at=past)
        make_attempt(message, provider=provider_name)
    with sending_by(settings, provider(mailgun.api_url), provider(mailgun.api_url, "backup")):
        assert [reconcile()["asked"] for _ in range(2)] == [3, 1]
    assert len({attempt.message_id for attempt in asked}) == 2


def test_lost_jobs_and_late_mail_are_seen_to_before_anybody_is_asked(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(lookups, "reports_of", hang)
    past = timezone.now() - HOUR
    make_attempt(make_message("deferred", importance="critical", sent_at=past, look_up_at=past))
    make_message(created_at=past)
    with pytest.raises(TimeoutError):
        reconcile()
    assert Job.objects.filter(kind="mail.send").exists()
    assert Alert.objects.get().kind == "deferred"
    assert Message.objects.get(status="deferred").look_up_at > past  # behind those that were due as long


@pytest.mark.parametrize("fate", ["is pruned", "is cancelled", "has succeeded", "was never there"])
def test_a_message_that_lost_its_job_gets_another(fate: str) -> None:
    message = Message(
        to="ada@example.org", address="ada@example.org", sender="l@mg.example.org", subject="Hi", text="x"
    )
    store([drafted(message, now=timezone.now())])
    job = Job.objects.get()
    if fate == "is pruned":
        job.delete()
    elif fate == "is cancelled":
        job.cancel()
    elif fate == "has succeeded":
        Job.objects.claim("here:1")[0].succeed(None)
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
    store([drafted(Message(to="a@b.c", address="a@b.c", sender="l@mg.example.org", subject="x"), now=timezone.now())])
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


def test_the_chore_submits_one_job_while_there_is_anything_to_look_after() -> None:
    chores.reconciliation()
    assert not Job.objects.exists()
    make_message("sent")
    for _ in range(2):
        chores.reconciliation()
    assert Job.objects.get().kind == "mail.reconcile"
