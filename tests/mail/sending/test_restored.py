"""Mail after a restore: providers are asked for attempts that the restored database does not know."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from jobs.models.cluster import Cluster
from mail.api.timeline import timeline
from mail.models import Alert, Attempt, Broadcast, Event, Message
from mail.status import Status
from tests.support.mail.messages import make_message
from tests.support.mail.sending import provider, sending_by, work_on, work_until_it_rests
from tests.support.servers.simulator import Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("mailgun")]


def after_restore() -> str:
    said = StringIO()
    call_command("after_restore", stdout=said)
    return said.getvalue()


def forget_that_it_was_sent(message: Message) -> None:
    """Restore the message to its state in a backup from before it was sent."""
    message.attempts.all().delete()
    Message.objects.filter(pk=message.pk).update(status=Status.QUEUED, sent_at=None, provider="", finished_at=None)
    message.refresh_from_db()


def test_mail_that_went_out_after_the_backup_is_not_sent_again(mailgun: Simulator) -> None:
    message = make_message()
    assert work_on(message) == 0
    call = message.attempts.get()
    forget_that_it_was_sent(message)
    after_restore()
    work_until_it_rests(message)
    assert mailgun.accepted(message.pk) == 1
    found = message.attempts.get()
    assert (found.pk, found.outcome, found.unrecorded) == (call.pk, "accepted", False)
    assert (message.status, found.provider_message_id) == ("sent", call.provider_message_id)
    assert Event.objects.filter(message=message, attempt=found, source="lookup").exists()
    assert not message.possible_duplicate


def test_mail_that_did_not_go_out_is_sent_once_it_is_certain(mailgun: Simulator) -> None:
    message = make_message()
    after_restore()
    message.refresh_from_db()
    assert message.status == "sending"
    work_until_it_rests(message)
    assert (message.status, mailgun.accepted(message.pk)) == ("sent", 1)
    assert not message.possible_duplicate
    types = sorted(entry["type"] for entry in timeline(message.pk, message.created_at))
    assert types == ["accepted", "attempt_started", "created", "restored"]


def test_an_attempt_that_was_under_way_does_not_hide_a_later_one(mailgun: Simulator) -> None:
    """The backup has the first attempt without an outcome; the second was made, and accepted, after it."""
    message = make_message()
    first = message.begin_attempt("mailgun", "mailgun", "mg.example.org")
    first.conclude("transient")
    assert work_on(message) == 0
    forget_that_it_was_sent(message)
    Attempt(pk=first.pk, message=message, provider="mailgun", started_at=first.started_at).save(force_insert=True)
    after_restore()
    work_until_it_rests(message)
    assert (message.status, mailgun.accepted(message.pk)) == ("sent", 1)


def test_every_provider_is_asked(mailgun: Simulator, settings: Any) -> None:
    with Simulator() as other, sending_by(settings, provider(other.api_url, "other"), provider(mailgun.api_url)):
        other.fault("429")
        message = make_message()
        work_on(message)
        assert (mailgun.accepted(message.pk), other.accepted(message.pk)) == (1, 0)
        forget_that_it_was_sent(message)
        after_restore()
        assert message.attempts.filter(unrecorded=True).count() == 2
        work_until_it_rests(message)
        assert (mailgun.accepted(message.pk), other.accepted(message.pk)) == (1, 0)
    assert (message.status, message.provider) == ("sent", "mailgun")


def test_mail_of_a_provider_that_cannot_be_asked_is_given_up_with_an_alert(settings: Any) -> None:
    silent = "anymail.backends.test.EmailBackend"
    with sending_by(settings, {"name": "silent", "backend": silent, "options": {}}):
        message = make_message()
        after_restore()
        work_until_it_rests(message)
    assert (message.status, Alert.objects.get().kind) == ("failed", "never_cleared_up")


def test_what_was_not_due_and_what_has_ended_is_left_alone() -> None:
    later = make_message("scheduled", send_at=timezone.now() + timedelta(hours=1))
    ended, sent = make_message("delivered"), make_message("sent")
    after_restore()
    assert not Attempt.objects.exists()
    assert [Message.objects.get(pk=each.pk).status for each in (later, ended, sent)] == [
        "scheduled",
        "delivered",
        "sent",
    ]


def test_a_second_run_changes_nothing() -> None:
    make_message()
    assert "1 messages" in after_restore()
    assert "0 messages" in after_restore()
    assert Attempt.objects.count() == 1


def test_a_broadcast_that_was_being_made_is_stopped() -> None:
    owner = User.objects.create(username="ada")
    begun, made = (Broadcast.objects.create(user=owner, subject="News", recipients=[]) for _ in range(2))
    Broadcast.objects.filter(pk=made.pk).update(finished_at=timezone.now())
    assert "1 broadcasts" in after_restore()
    begun.refresh_from_db()
    made.refresh_from_db()
    assert begun.stopped_at
    assert "Resume it, or cancel it" in begun.stop_reason
    assert made.stopped_at is None


def test_after_restore_refuses_while_a_cluster_runs() -> None:
    Cluster.objects.create(name="host:1", host="host")
    with pytest.raises(CommandError, match="Stop these clusters, and try again after ten seconds: host:1"):
        after_restore()


def test_watchers_are_told_of_unfinished_messages() -> None:
    message = make_message()
    Message.objects.filter(pk=message.pk).update(version=1)
    after_restore()
    message.refresh_from_db()
    assert message.version > 1
