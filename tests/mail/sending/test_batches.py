"""Many messages at once: whose attempt is begun before its job starts, and how successes are stored."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from jobs.errors import RetryAfter
from jobs.registry import find_kind
from mail.events import apply, ingest
from mail.events.provider_event import from_mailgun
from mail.models import Attachment, Attempt, Message, Provider, Slowdown, Suppression
from mail.providers import breakers
from mail.sending import batches, send
from mail.sending.batches import Accepted
from tests.support.concurrency import in_threads
from tests.support.mail.mailgun_webhooks import make_event
from tests.support.mail.messages import make_message
from tests.support.mail.sending import NOBODY, classes, provider, sending_by, work_until_it_rests
from tests.support.servers.simulator import Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("mailgun")]

needs_postgresql = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="On SQLite each attempt is begun by its own job."
)


def begun(*messages: Message) -> list[bool]:
    """Whether the attempt of each was begun; nothing of the others was changed."""
    attempts = Attempt.objects.count()
    calls = batches.begin([message.pk for message in messages])
    for message in messages:
        status = message.status
        message.refresh_from_db()
        assert message.status == ("sending" if message.pk in calls else status)
    assert Attempt.objects.count() == attempts + len(calls)
    return [message.pk in calls for message in messages]


@needs_postgresql
@pytest.mark.parametrize("importance", ["critical", "normal", "bulk"])
def test_messages_that_need_nothing_but_a_call_are_begun_together(importance: str) -> None:
    messages = [make_message(importance=importance) for _ in range(3)]
    assert begun(*messages) == [True] * 3
    assert begun(*messages) == [False] * 3  # their attempts are under way


@needs_postgresql
def test_a_call_that_was_begun_is_made_once_and_recorded(mailgun: Simulator) -> None:
    messages = [make_message() for _ in range(2)]
    calls = batches.begin([message.pk for message in messages])
    ended = [send.send(calls[message.pk]) for message in messages]
    assert [classes(message) for message in messages] == [[("", "")]] * 2
    assert batches.conclude(ended) == [{"status": "sent"}] * 2
    for message in messages:
        message.refresh_from_db()
        assert (message.status, message.provider, bool(message.sent_at)) == ("sent", "mailgun", True)
        assert mailgun.account(message.pk)["calls"] == 1


@needs_postgresql
def test_of_two_jobs_of_one_message_only_one_makes_the_call(mailgun: Simulator) -> None:
    message, kind = make_message(), find_kind("mail.send")
    assert kind.prepare
    first, second = kind.prepare([{"message": message.pk}] * 2)
    with pytest.raises(RetryAfter, match="unclear"):
        send.send(second["message"])
    batches.conclude([send.send(first["message"])])
    message.refresh_from_db()
    assert (message.status, classes(message)) == ("sent", [("accepted", "")])
    assert mailgun.account(message.pk)["calls"] == 1


def cancel(message: Message) -> None:
    message.cancel()


def expire(message: Message) -> None:
    Message.objects.filter(pk=message.pk).update(expires_at=timezone.now())


def wait_for_release(message: Message) -> None:
    Message.objects.filter(pk=message.pk).update(awaits_release=True)


def join_stream(message: Message) -> None:
    Message.objects.filter(pk=message.pk).update(stream="news")


def attach(message: Message) -> None:
    Attachment.objects.create(message=message, filename="a.txt", content_type="text/plain", content=b"Hi")


def try_before(message: Message) -> None:
    message.begin_attempt("mailgun").conclude("transient")


def suppress(message: Message) -> None:
    Suppression.objects.suppress(message.address, "bounce", "all", None, source="mailgun")


def suppress_for_bulk(message: Message) -> None:
    Suppression.objects.suppress(message.address, "unsubscribe", "bulk", None, source="mailgun")


def be_at_a_receiver_with_a_rate(message: Message) -> None:
    Message.objects.filter(pk=message.pk).update(address="ada@gmail.com")


@needs_postgresql
@pytest.mark.parametrize(
    "change",
    [
        cancel,
        expire,
        wait_for_release,
        join_stream,
        attach,
        try_before,
        suppress,
        suppress_for_bulk,
        be_at_a_receiver_with_a_rate,
    ],
)
def test_a_message_that_needs_a_closer_look_is_left_to_its_job(change: Callable[[Message], None]) -> None:
    message, plain = make_message(), make_message(address="bob@example.org")
    change(message)
    message.refresh_from_db()
    assert begun(message, plain) == [False, True]


@needs_postgresql
def test_nothing_is_begun_while_the_preferred_provider_takes_none(mailgun: Simulator) -> None:
    message = make_message()
    breakers.record_failure("mailgun", "it was away", at_once=True)
    Provider.objects.update(open_until=timezone.now())  # it may be probed, by one message
    breakers.invalidate_cache()
    assert begun(message) == [False]
    Provider.objects.update(opened_at=None, open_until=None, paused_until=timezone.now() + timedelta(hours=1))
    breakers.invalidate_cache()
    assert begun(message) == [False]
    Provider.objects.update(paused_until=timezone.now())
    breakers.invalidate_cache()
    assert begun(message) == [True]


@needs_postgresql
def test_a_provider_with_a_rate_is_asked_one_by_one(settings: Any) -> None:
    settings.MAIL_RATES = {"mailgun": (1000, 1)}
    assert begun(make_message()) == [False]


@needs_postgresql
def test_bulk_mail_to_a_domain_that_blocks_us_is_not_begun() -> None:
    Slowdown.objects.create(domain="example.org", until=timezone.now() + timedelta(hours=1))
    breakers.invalidate_cache()
    assert begun(make_message(importance="bulk"), make_message()) == [False, True]


@needs_postgresql
def test_with_two_providers_critical_mail_is_looked_at_one_by_one(mailgun: Simulator, settings: Any) -> None:
    with sending_by(settings, provider(mailgun.api_url), provider(mailgun.api_url, "second")):
        assert begun(make_message(importance="critical"), make_message()) == [False, True]


@needs_postgresql
def test_a_call_that_fails_is_followed_by_the_next_provider(mailgun: Simulator, settings: Any) -> None:
    with sending_by(settings, provider(NOBODY, "first"), provider(mailgun.api_url)):
        message = make_message()
        call = batches.begin([message.pk])[message.pk]
        assert call.account.name == "first"
        batches.conclude([send.send(call)])
    message.refresh_from_db()
    assert (message.status, message.provider) == ("sent", "mailgun")
    assert classes(message) == [("transient", "unreachable"), ("accepted", "")]


@needs_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_another_transaction_works_on_is_left_out_and_not_waited_for() -> None:
    locked, free = make_message(), make_message()
    with transaction.atomic():
        Message.objects.select_for_update().get(pk=locked.pk)
        found: list[bool] = []
        in_threads(lambda: found.extend(begun(free)), lambda: found.append(bool(batches.begin([locked.pk]))))
    assert sorted(found) == [False, True]


@needs_postgresql
def test_an_attempt_that_somebody_began_meanwhile_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = make_message(), make_message()
    account_for = batches._account_for

    def begin_first(message: Message) -> Any:
        if message.pk == taken.pk:
            taken.begin_attempt("mailgun")
        return account_for(message)

    monkeypatch.setattr(batches, "_account_for", begin_first)
    assert list(batches.begin([taken.pk, free.pk])) == [free.pk]
    assert Attempt.objects.filter(message=taken).count() == 1


@needs_postgresql
def test_a_worker_that_dies_before_its_call_leaves_it_to_the_next_which_asks_the_provider(mailgun: Simulator) -> None:
    message = make_message()
    assert batches.begin([message.pk])
    work_until_it_rests(message)
    assert (message.status, classes(message)) == ("sent", [("transient", "unreachable"), ("accepted", "")])
    assert mailgun.account(message.pk)["calls"] == 1


def test_a_worker_that_dies_before_the_success_is_stored_does_not_send_twice(mailgun: Simulator) -> None:
    message = make_message()
    assert isinstance(send.send(message.pk), Accepted)
    work_until_it_rests(message)
    assert (message.status, classes(message)) == ("sent", [("accepted", "")])
    assert mailgun.account(message.pk)["calls"] == 1


def test_successes_are_stored_beside_messages_that_ended_otherwise() -> None:
    sent, again, delivered = (make_message() for _ in range(3))
    ended = [send.send(message.pk) for message in (sent, again, delivered)]
    batches.conclude([ended[1]])
    attempt = delivered.attempts.get()
    event = ingest.ingest(from_mailgun(make_event(attempt)))
    assert event
    apply.apply(event.pk)
    results = batches.conclude([ended[0], "expired", ended[1], ended[2]])
    assert [each["status"] for each in results] == ["sent", "expired", "sent", "delivered"]


def test_the_success_of_a_message_that_was_deleted_meanwhile_has_no_status() -> None:
    message, other = make_message(), make_message()
    ended = [send.send(message.pk), send.send(other.pk)]
    message.delete()
    assert batches.conclude(ended) == [{"status": ""}, {"status": "sent"}]


@needs_postgresql
@pytest.mark.parametrize("given", ["x" * 300, "an id\0with a NUL"])
def test_an_id_that_cannot_be_stored_fails_no_message_of_its_batch(given: str) -> None:
    messages = [make_message() for _ in range(3)]
    calls = batches.begin([message.pk for message in messages])
    ids = [given, "usual", "also usual"]
    ended = [Accepted(calls[message.pk].attempt, text) for message, text in zip(messages, ids, strict=True)]
    assert batches.conclude(ended) == [{"status": "sent"}] * 3
    assert Attempt.objects.get(message=messages[0]).provider_message_id in ("x" * 255, "an idwith a NUL")
