"""A broadcast is queued in portions, lasts as long as it takes, and what has not been sent can be cancelled."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from jobs.errors import PermanentError, RetryAfter
from jobs.models import Job
from jobs.registry import find_kind
from jobs.run import Run
from mail.broadcasts import cancellation, fan_out, release
from mail.events import reconciliation
from mail.importance import EXPIRES_AFTER, Importance
from mail.models import Broadcast, Message
from mail.status import Status
from tests.support.api_clients import assert_problem
from tests.support.concurrency import until_it_waits
from tests.support.mail.broadcasts import BROADCASTS, make_template, post, recipients, run
from tests.support.mail.sending import NOBODY, provider, sending_by, work_on

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _small_portions(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    make_template(ada)
    monkeypatch.setattr(release, "WINDOW", 4)
    monkeypatch.setattr(fan_out, "CHUNK_SIZE", 3)


def queued() -> list[int]:
    """The rows of the messages that have a job."""
    return list(Message.objects.filter(awaits_release=False).order_by("row").values_list("row", flat=True))


def end(count: int, status: str = Status.DELIVERED) -> None:
    ids = list(Message.objects.filter(status="queued", awaits_release=False).values_list("pk", flat=True)[:count])
    Message.objects.filter(pk__in=ids).update(status=status, finished_at=timezone.now())


def cancel(api: APIClient, answer: Any) -> Any:
    return api.post(f"{BROADCASTS}{answer.json()['id']}/cancellation/")


def run_all(kind: str) -> None:
    for job in Job.objects.filter(kind=kind):
        find_kind(kind).handler(Run(job), **find_kind(kind).handler_arguments(job.params))


# --- portions ------------------------------------------------------------------------------------------------------


def test_only_a_window_of_a_broadcast_is_queued_at_once(api: APIClient) -> None:
    assert run(post(api, recipients=recipients(10)))["accepted"] == 10
    assert queued() == [1, 2, 3, 4]
    assert Job.objects.filter(kind="mail.send_bulk").count() == 4
    assert release.release_all() == 0
    end(3)
    assert release.release_all() == 3
    assert queued() == [1, 2, 3, 4, 5, 6, 7]
    jobs = {job.pk: job for job in Job.objects.filter(kind="mail.send_bulk")}
    for message in Message.objects.filter(row__in=queued()):
        assert jobs[message.job_id].params == {"message": str(message.pk)}


def test_nothing_more_is_queued_while_the_window_is_smaller_than_what_is_queued(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(post(api, recipients=recipients(3)))
    Broadcast.objects.update(finished_at=None, released_at=None)  # more messages follow
    monkeypatch.setattr(release, "WINDOW", 1)
    assert release.room(Broadcast.objects.get().pk) == 0
    assert release.release_all() == 0


def test_all_messages_are_queued_in_the_end_and_the_broadcast_is_looked_at_no_more(api: APIClient) -> None:
    run(post(api, recipients=recipients(10)))
    for _ in range(2):
        end(4)
        assert release.release_all()
    assert queued() == list(range(1, 11))
    assert Broadcast.objects.get().released_at
    assert not Broadcast.objects.to_release().exists()


def test_a_small_broadcast_is_queued_whole(api: APIClient) -> None:
    run(post(api, recipients=recipients(4)))
    assert queued() == [1, 2, 3, 4]
    assert Broadcast.objects.get().released_at


def test_each_broadcast_has_a_window_of_its_own(api: APIClient) -> None:
    for _ in range(2):
        run(post(api, recipients=recipients(6)))
    assert Message.objects.filter(awaits_release=False).count() == 8


def test_a_message_that_waits_for_its_release_does_not_count_as_one_without_a_job(api: APIClient) -> None:
    run(post(api, recipients=recipients(6)))
    Message.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert reconciliation.reconcile()["jobs"] == 0


# --- expiry --------------------------------------------------------------------------------------------------------


def test_the_default_expiry_is_counted_from_when_a_message_is_queued(api: APIClient) -> None:
    run(post(api, recipients=recipients(6)))
    Message.objects.update(expires_at=timezone.now() - timedelta(days=1))
    end(2)
    release.release_all()
    left = Message.objects.get(row=6).expires_at - timezone.now()
    assert left.total_seconds() == pytest.approx(EXPIRES_AFTER[Importance.BULK].total_seconds(), abs=20)


def test_a_given_expiry_applies_to_messages_that_wait_for_release(api: APIClient) -> None:
    run(post(api, recipients=recipients(6), expires_at="2100-01-01T00:00:00Z"))
    end(1)
    release.release_all()
    assert set(Message.objects.values_list("expires_at__year", flat=True)) == {2100}
    Broadcast.objects.update(expires_at=timezone.now())
    end(4)
    assert release.release_all() == 0
    assert Message.objects.get(row=6).status == Status.EXPIRED


# --- cancelling ----------------------------------------------------------------------------------------------------


def test_cancelling_the_job_cancels_what_has_not_been_sent(api: APIClient) -> None:
    answer = post(api, recipients=recipients(9))
    fan_out._process_chunk(Broadcast.objects.get(), fan_out.CompiledTemplate(Broadcast.objects.get()))
    end(1, Status.DELIVERED)
    assert api.post(f"{answer.json()['url']}cancellation/").status_code == 200
    assert Message.objects.by_status() == {"delivered": 1, "cancelled": 2}
    assert Broadcast.objects.get().cancelled_at
    with pytest.raises(PermanentError):
        run(answer)
    assert Message.objects.count() == 3


def test_a_broadcast_whose_job_is_gone_can_still_be_cancelled(api: APIClient) -> None:
    answer = post(api, recipients=recipients(9))
    run(answer)
    Job.objects.filter(kind="mail.broadcast").delete()
    end(1, Status.DELIVERED)
    cancelled = cancel(api, answer)
    assert (cancelled.status_code, bool(cancelled.json()["cancelled_at"])) == (200, True)
    assert cancelled.json()["figures"] == {"delivered": 1, "cancelled": 3, "queued": 5}
    assert release.release_all() == 0
    run_all(cancellation.KIND)
    assert Message.objects.by_status() == {"delivered": 1, "cancelled": 8}
    assert cancel(api, answer).status_code == 200
    timeline = api.get(f"/api/v1/mail/messages/{Message.objects.get(row=9).pk}/").json()["timeline"]
    assert [entry["type"] for entry in timeline] == ["created", "cancelled"]


def test_a_broadcast_that_was_sent_cannot_be_cancelled(api: APIClient) -> None:
    answer = post(api, recipients=recipients(2))
    run(answer)
    Job.objects.filter(kind="mail.broadcast").delete()
    end(2, Status.DELIVERED)
    assert_problem(cancel(api, answer), 409)
    assert Broadcast.objects.get().cancelled_at is None


def test_cancelling_a_broadcast_cancels_its_job(api: APIClient) -> None:
    answer = post(api)
    assert cancel(api, answer).status_code == 200
    assert api.get(answer["Location"]).json()["status"] == "cancelled"


def test_a_message_whose_call_fails_after_the_cancellation_is_not_sent_again(api: APIClient, settings: Any) -> None:
    run(post(api, recipients=recipients(1)))
    message = Message.objects.get()
    attempt = message.begin_attempt("mailgun")
    cancellation.cancel_broadcast(message.broadcast_id)
    attempt.conclude("transient")
    message.return_to_queue()
    assert message.status == "queued"
    with sending_by(settings, provider(NOBODY)):
        assert work_on(message) == 0
    assert message.status == "cancelled"
    assert (message.attempts.get(), message.events.get().type) == (attempt, "cancelled")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no locks of rows.")
@pytest.mark.django_db(transaction=True)
def test_a_message_that_is_locked_during_the_cancellation_is_cancelled_later(api: APIClient) -> None:
    run(post(api, recipients=recipients(2)))
    locked = Message.objects.first()
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        locked.lock()
        cancelling = until_it_waits(pool, lambda: cancellation.cancel_broadcast(locked.broadcast_id))
        unfinished = until_it_waits(pool, lambda: cancellation.cancel_unsent(locked.broadcast_id))
    cancelling.result()
    with pytest.raises(RetryAfter):
        unfinished.result()
    assert Message.objects.by_status() == {"cancelled": 1, "queued": 1}
    run_all(cancellation.KIND)
    assert Message.objects.by_status() == {"cancelled": 2}


def test_no_chunk_is_made_once_the_broadcast_is_cancelled(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = post(api, recipients=recipients(9))
    drafts = fan_out._build_drafts

    def cancelled_meanwhile(broadcast: Broadcast, *arguments: Any) -> Any:
        cancellation.cancel_broadcast(broadcast.pk)
        return drafts(broadcast, *arguments)

    monkeypatch.setattr(fan_out, "_build_drafts", cancelled_meanwhile)
    with pytest.raises(PermanentError):
        run(answer)
    assert not Message.objects.exists()
