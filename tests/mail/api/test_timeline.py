"""A timeline is in the order of what happened, whatever the provider's clock says."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations

import pytest
from django.utils import timezone

from mail.api.timeline import timeline
from mail.models import Attempt, Event
from tests.support.mail.mailgun_webhooks import make_attempt, make_sent_message

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
NOW = timezone.now()


def sent(**fields: object) -> Attempt:
    """An attempt of a message that was created 10 s ago, sent 5 s ago, and accepted half a second later."""
    message = make_sent_message(created_at=NOW - 10 * SECOND)
    return make_attempt(message, **{"started_at": NOW - 5 * SECOND, "finished_at": NOW - 4.5 * SECOND, **fields})


def told(attempt: Attempt, events: Sequence[tuple[str, float]], clock: timedelta, order: Sequence[int] = ()) -> None:
    """Store events (type, seconds after the attempt's start). clock: is wrong by this. order: in which they arrived."""
    for heard, place in enumerate(order or range(len(events)), 1):
        kind, after = events[place]
        at = attempt.started_at + after * SECOND
        received_at = max(at, attempt.started_at + events[-1][1] * SECOND + heard * SECOND if order else at)
        Event.objects.create(
            message=attempt.message,
            attempt=attempt,
            type=kind,
            source="webhook",
            provider="mailgun",
            at=at + clock,
            received_at=received_at,
        )


def types(attempt: Attempt) -> list[str]:
    entries = timeline(attempt.message_id, attempt.message.created_at)
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    return [entry["type"] for entry in entries]


@pytest.mark.parametrize("wrong_by", [0, -3, -3600, 3, 3600])
def test_an_attempt_is_accepted_before_it_is_delivered_whatever_the_provider_s_clock_says(wrong_by: float) -> None:
    attempt = sent()
    told(attempt, [("deferred", 0.6), ("delivered", 0.7), ("opened", 0.8)], wrong_by * SECOND)
    expected = ["created", "attempt_started", "accepted", "deferred", "delivered", "opened"]
    assert types(attempt) == expected


@pytest.mark.parametrize("wrong_by", [0, -3600, 3600])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_in_which_events_arrived_does_not_matter(order: tuple[int, ...], wrong_by: float) -> None:
    attempt = sent()
    told(attempt, [("deferred", 1), ("delivered", 2), ("complained", 3)], wrong_by * SECOND, order)
    assert types(attempt)[2:] == ["accepted", "deferred", "delivered", "complained"]


def test_events_of_the_same_second_are_in_their_natural_order() -> None:
    attempt = sent()
    told(attempt, [("complained", 1), ("opened", 1), ("delivered", 1), ("accepted", 1)], 0 * SECOND)
    assert types(attempt)[2:] == ["accepted", "accepted", "delivered", "opened", "complained"]


def test_a_bounce_by_a_clock_that_is_ahead_stands_before_the_second_attempt_that_it_caused() -> None:
    attempt = sent()
    told(attempt, [("bounced", 1)], 3600 * SECOND)
    Event.objects.create(
        message=attempt.message, source="legwork", type="sent_again", at=attempt.started_at + 2 * SECOND
    )
    make_attempt(attempt.message, started_at=attempt.started_at + 3 * SECOND, finished_at=NOW)
    assert types(attempt)[2:] == ["accepted", "bounced", "sent_again", "attempt_started", "accepted"]


def test_an_attempt_that_was_cleared_up_late_is_accepted_before_what_cleared_it_up() -> None:
    attempt = sent(finished_at=NOW + 1800 * SECOND)
    told(attempt, [("delivered", 1)], 0 * SECOND)
    entries = timeline(attempt.message_id, attempt.message.created_at)
    assert [entry["type"] for entry in entries][2:] == ["accepted", "delivered"]
    assert entries[-1]["at"] == attempt.started_at + SECOND
