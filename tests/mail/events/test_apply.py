"""What events do to messages: once, in whatever order they come, and as the policy says."""

import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.eventually import eventually
from jobs import registry
from jobs.cluster import maintenance
from jobs.models import Job
from mail.events import apply, ingest
from mail.events.classify import STATUS
from mail.events.provider_event import from_mailgun
from mail.importance import Importance
from mail.models import Alert, Attempt, Event, Message, Strike, Suppression, WebhookToken
from mail.status import PRECEDENCE, Status
from tests.support.concurrency import in_threads, waiting_for_locks
from tests.support.mail.mailgun_webhooks import ADA, failure, make_attempt, make_event, make_sent_message
from tests.support.timeouts import PATIENCE

pytestmark = pytest.mark.django_db

HARD = {"severity": "permanent", "reason": "bounce", "delivery-status": {"code": 550, "message": "5.1.1 no such user"}}
OLD = {"severity": "permanent", "reason": "old", "delivery-status": {"code": 602}}
LATER = {"severity": "temporary", "reason": "generic", "delivery-status": {"code": 421}}
KINDS: dict[str, dict[str, Any]] = {
    "accepted": {},
    "deferred": {"event": "failed", **LATER},
    "rejected": {},
    "delivered": {},
    "bounced": {"event": "failed", **HARD},
    "exhausted": {"event": "failed", **OLD},
    "complained": {},
    "opened": {},
    "clicked": {},
    "unsubscribed": {},
    "of-tomorrow": {},
}


def an_event(attempt: Attempt, kind: str, **fields: Any) -> dict[str, Any]:
    return make_event(attempt, kind) | KINDS[kind] | fields


def happen(*events: dict[str, Any]) -> None:
    """Ingest these events, and apply them as their jobs would."""
    for data in events:
        if taken := ingest.ingest(from_mailgun(data)):
            apply.apply(taken.pk)


def expected(events: Sequence[dict[str, Any]], first: Status = Status.SENT) -> Status:
    known = (STATUS.get(Event.objects.get(raw__id=data["id"]).type) for data in events)
    return max((status for status in (first, *known) if status), key=PRECEDENCE.__getitem__)


@pytest.mark.parametrize("order", list(permutations(["deferred", "delivered", "bounced", "complained"])), ids=" ".join)
def test_the_order_in_which_events_come_does_not_matter(order: tuple[str, ...]) -> None:
    attempt = make_attempt()
    happen(*(an_event(attempt, kind) for kind in order))
    assert Message.objects.get().status == Status.COMPLAINED


@settings(max_examples=50)
@given(st.data())
def test_the_final_status_is_by_precedence_whatever_the_number_and_order_of_events(data: st.DataObject) -> None:
    importance = data.draw(st.sampled_from([Importance.NORMAL, Importance.BULK]))
    attempt = make_attempt(make_sent_message(importance=importance))
    kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=5))
    events = [an_event(attempt, kind) for kind in kinds]
    happen(
        *data.draw(
            st.permutations([*events, *data.draw(st.lists(st.sampled_from(events), max_size=3))] if events else [])
        )
    )

    message = Message.objects.get(pk=attempt.message_id)
    assert message.status == expected(events)
    assert message.opens == kinds.count("opened")
    assert message.clicks == kinds.count("clicked")
    assert Event.objects.filter(message=message, source="webhook").count() == len(events)
    assert message.finished == (message.finished_at is not None)


@pytest.mark.parametrize("before", ["", Attempt.Outcome.AMBIGUOUS])
@pytest.mark.parametrize("kind", ["accepted", "deferred", "delivered", "opened", "complained"])
def test_any_event_proves_that_the_provider_has_the_message(kind: str, before: str) -> None:
    attempt = make_attempt(make_sent_message(Status.SENDING), outcome=before)
    happen(an_event(attempt, kind, message={"headers": {"message-id": "1@mg.example.org"}}))
    attempt.refresh_from_db()
    assert (attempt.outcome, attempt.provider_message_id) == ("accepted", "<1@mg.example.org>")
    message = Message.objects.get()
    assert message.sent_at is not None
    assert message.provider == "mailgun"
    assert PRECEDENCE[Status(message.status)] >= PRECEDENCE[Status.SENT]


def test_an_event_of_a_failed_attempt_stops_the_next_try() -> None:
    attempt = make_attempt(make_sent_message(Status.QUEUED), outcome=Attempt.Outcome.TRANSIENT)
    happen(an_event(attempt, "opened"))
    message, attempt = Message.objects.get(), Attempt.objects.get()
    assert (message.status, attempt.outcome) == (Status.SENT, Attempt.Outcome.ACCEPTED)
    assert message.sent_at is not None


@pytest.mark.parametrize("second", ["", Attempt.Outcome.AMBIGUOUS, Attempt.Outcome.ACCEPTED, Attempt.Outcome.TRANSIENT])
def test_an_event_of_a_failed_attempt_marks_mail_that_was_sent_again(second: str) -> None:
    """The provider's log was late: it did not know the first attempt when it was asked."""
    message = make_sent_message(Status.SENDING)
    first = make_attempt(message, outcome=Attempt.Outcome.TRANSIENT)
    make_attempt(message, outcome=second)
    happen(an_event(first, "delivered"))
    assert Message.objects.get().possible_duplicate == (second != Attempt.Outcome.TRANSIENT)


@pytest.mark.parametrize("outcome", [Attempt.Outcome.TRANSIENT, Attempt.Outcome.AMBIGUOUS])
def test_an_event_of_the_only_attempt_marks_no_duplicate(outcome: str) -> None:
    attempt = make_attempt(make_sent_message(Status.QUEUED), outcome=outcome)
    make_attempt(attempt.message, outcome=Attempt.Outcome.AMBIGUOUS, provider="backup", unrecorded=True)
    happen(an_event(attempt, "delivered"))
    assert not Message.objects.get().possible_duplicate


def test_a_delivery_overrides_a_failed_status() -> None:
    attempt = make_attempt(
        make_sent_message(Status.FAILED, finished_at=timezone.now()), outcome=Attempt.Outcome.AMBIGUOUS
    )
    happen(an_event(attempt, "delivered"))
    assert Message.objects.get().status == Status.DELIVERED


def test_an_event_of_an_unknown_type_changes_nothing() -> None:
    attempt = make_attempt(make_sent_message(Status.SENDING), outcome="")
    happen(an_event(attempt, "of-tomorrow"))
    attempt.refresh_from_db()
    assert (attempt.outcome, Message.objects.get().status) == ("", Status.SENDING)
    assert Event.objects.get().applied_at is not None


def test_a_looked_up_event_counts_once_beside_its_webhook() -> None:
    data = an_event(make_attempt(), "opened")
    assert ingest.ingest(from_mailgun(data)) is not None
    assert ingest.ingest(from_mailgun(data), Event.Source.LOOKUP) is None
    happen(data)
    apply.apply(Event.objects.get().pk)
    assert Message.objects.get().opens == 1


def test_a_job_that_runs_twice_applies_its_event_once() -> None:
    taken = ingest.ingest(from_mailgun(an_event(make_attempt(), "opened")))
    assert taken
    assert [apply.apply(taken.pk) for _ in range(3)] == [True, False, False]
    assert Message.objects.get().opens == 1


def test_an_event_whose_application_fails_can_be_applied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = ingest.ingest(from_mailgun(an_event(make_attempt(), "opened")))
    assert taken
    with monkeypatch.context() as patched:
        patched.setattr(Message, "count_open", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            apply.apply(taken.pk)
    assert Event.objects.get().applied_at is None
    assert apply.apply(taken.pk)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite in memory has one connection, and one writer anyway.")
@pytest.mark.django_db(transaction=True)
def test_workers_that_apply_events_at_the_same_time_do_not_apply_one_twice() -> None:
    attempt = make_attempt()
    taken = [
        ingest.ingest(from_mailgun(an_event(attempt, kind))) for kind in ["opened", "clicked", "delivered", "bounced"]
    ]
    ids = [event.pk for event in taken if event]
    together, applied = threading.Barrier(3 * len(ids)), list[bool]()

    def work(event_id: UUID) -> None:
        together.wait(PATIENCE)
        applied.append(apply.apply(event_id))

    in_threads(*(partial(work, event_id) for event_id in ids * 3))
    assert sum(applied) == len(ids)
    message = Message.objects.get()
    assert (message.status, message.opens, message.clicks) == (Status.BOUNCED, 1, 1)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite in memory has one connection, and one writer anyway.")
@pytest.mark.django_db(transaction=True)
def test_two_events_of_one_attempt_s_end_are_one_strike_also_when_they_come_at_once() -> None:
    attempt = make_attempt()
    both = [an_event(attempt, "exhausted"), failure(attempt, "temporary", "old", code=498)]
    ids = [event.pk for data in both if (event := ingest.ingest(from_mailgun(data)))]

    locked = threading.Event()

    def hold_until_both_wait() -> None:
        with transaction.atomic():
            Message.objects.select_for_update().get()
            locked.set()
            eventually(lambda: waiting_for_locks() == len(ids), PATIENCE, "both events waiting for their message")

    def work(event_id: UUID) -> None:
        assert locked.wait(PATIENCE)
        apply.apply(event_id)

    in_threads(hold_until_both_wait, *(partial(work, event_id) for event_id in ids))
    assert Strike.objects.count() == 1


@pytest.mark.parametrize(
    ("event", "status", "reason", "scope"),
    [
        ("bounced", Status.BOUNCED, "bounce", "all"),
        ("complained", Status.COMPLAINED, "complaint", "all"),
        ("unsubscribed", Status.SENT, "unsubscribe", "bulk"),
    ],
)
def test_an_address_is_suppressed_as_the_policy_says(event: str, status: str, reason: str, scope: str) -> None:
    happen(an_event(make_attempt(), event))
    suppressed = Suppression.objects.get()
    assert (suppressed.address, suppressed.reason, suppressed.scope) == (ADA, reason, scope)
    assert suppressed.source == "mailgun"
    assert Message.objects.get().status == status


@pytest.mark.parametrize(
    ("reason", "code", "suppression"),
    [
        ("suppress-bounce", 605, "bounce"),
        ("suppress-complaint", 607, "complaint"),
        ("suppress-unsubscribe", 606, "unsubscribe"),
    ],
)
def test_a_provider_s_own_suppression_becomes_ours(reason: str, code: int, suppression: str) -> None:
    happen(failure(make_attempt(), reason=reason, code=code))
    assert Suppression.objects.get().reason == suppression
    assert Message.objects.get().finished


def test_a_failure_is_shown_with_its_class_and_without_addresses() -> None:
    happen(failure(make_attempt(), code=550, message=f"5.1.1 <{ADA}> unknown"))
    assert Message.objects.get().failure == {"class": "hard_bounce", "detail": "5.1.1 <a***@example.org> unknown"}


def test_a_block_is_an_alert_and_suppresses_nobody() -> None:
    happen(failure(make_attempt(), reason="espblock", code=550, message="5.7.1 likely spam"))
    assert Alert.objects.filter(kind="blocked").exists()
    assert not Suppression.objects.exists()


def test_an_exhausted_delivery_is_a_strike_and_a_delivery_clears_the_strikes() -> None:
    happen(an_event(make_attempt(), "exhausted"))
    assert Strike.objects.count() == 1
    happen(an_event(make_attempt(), "delivered"))
    assert Strike.objects.count() == 0


def test_two_events_of_one_attempt_s_end_are_one_strike() -> None:
    attempt = make_attempt()
    happen(an_event(attempt, "exhausted"), failure(attempt, "temporary", "old", code=498))
    assert Strike.objects.count() == 1


class TestCriticalMail:
    """After an exhausted delivery it is sent again; late events of the first attempt must not stop the second."""

    @pytest.fixture
    def attempt(self) -> Attempt:
        attempt = make_attempt(make_sent_message(importance=Importance.CRITICAL))
        happen(an_event(attempt, "exhausted"))
        return attempt

    def test_it_is_sent_once_more(self, attempt: Attempt) -> None:
        assert Message.objects.get().status == Status.QUEUED
        assert Job.objects.filter(kind="mail.send").count() == 1

    def test_recording_the_acceptance_after_the_bounce_does_not_stop_the_second(self) -> None:
        attempt = make_attempt(make_sent_message(Status.SENDING, importance=Importance.CRITICAL), outcome="")
        happen(an_event(attempt, "exhausted"))
        attempt.message.accept(attempt, "<1@mg.example.org>")
        assert attempt.message.status == Message.objects.get().status == Status.QUEUED
        assert Job.objects.filter(kind="mail.send").count() == 1

    @pytest.mark.parametrize("late", ["accepted", "deferred", "exhausted", "opened"])
    def test_late_events_of_the_first_attempt_do_not_stop_the_second(self, attempt: Attempt, late: str) -> None:
        happen(an_event(attempt, late))
        assert Message.objects.get().status == Status.QUEUED
        assert Job.objects.filter(kind="mail.send").count() == 1

    @pytest.mark.parametrize(("late", "status"), [("delivered", "delivered"), ("bounced", "bounced")])
    def test_a_final_event_of_the_first_attempt_stops_the_second(
        self, attempt: Attempt, late: str, status: str
    ) -> None:
        happen(an_event(attempt, late))
        assert Message.objects.get().status == status

    def test_a_late_event_of_the_first_attempt_does_not_end_what_the_second_has_sent(self, attempt: Attempt) -> None:
        make_attempt(attempt.message)
        Message.objects.update(status=Status.SENT)
        happen(an_event(attempt, "exhausted"))
        assert Message.objects.get().status == Status.SENT

    def test_the_second_attempt_decides(self, attempt: Attempt) -> None:
        second = make_attempt(attempt.message)
        happen(an_event(second, "deferred"), an_event(attempt, "deferred"), an_event(second, "delivered"))
        assert Message.objects.get().status == Status.DELIVERED


# --- maintenance ------------------------------------------------------------------------------------------------


def test_an_event_whose_job_was_lost_is_applied_by_the_maintenance_task() -> None:
    for kind in ["opened", "clicked"]:
        ingest.ingest(from_mailgun(an_event(make_attempt(), kind)))
    Job.objects.all().delete()
    assert apply.apply_lost_events() == 0
    Event.objects.filter(type="opened").update(received_at=timezone.now() - timedelta(hours=1))
    assert apply.apply_lost_events() == 1
    assert apply.apply_lost_events() == 0
    assert sorted(Message.objects.values_list("opens", "clicks")) == [(0, 0), (1, 0)]


def test_an_event_that_cannot_be_applied_does_not_block_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ["opened", "clicked"]:
        ingest.ingest(from_mailgun(an_event(make_attempt(), kind)))
    Event.objects.update(received_at=timezone.now() - timedelta(hours=1))
    monkeypatch.setattr(Message, "count_open", lambda self: 1 / 0)
    assert apply.apply_lost_events() == 1


def test_used_tokens_and_disregarded_events_are_deleted_in_time() -> None:
    attempt = make_attempt()
    now = timezone.now()
    for days in [0, 1, 3, 40]:
        WebhookToken.objects.create(token=str(days), used_at=now - timedelta(days=days))
        ingest.ingest(from_mailgun(make_event(attempt, recipient="eve@example.org", id=str(days))))
        Event.objects.filter(raw__id=str(days)).update(received_at=now - timedelta(days=days))
    assert (apply.delete_used_tokens(), apply.delete_disregarded_events()) == (2, 1)
    assert Event.objects.count() == 3


def test_the_job_is_internal_and_the_maintenance_tasks_are_registered() -> None:
    assert registry.find_kind("mail.event").internal
    assert {apply.apply_lost_events, apply.delete_used_tokens, apply.delete_disregarded_events} <= {
        task.function for task in maintenance._tasks
    }
