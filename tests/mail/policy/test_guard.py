"""Too many bounces or complaints stop a broadcast or a stream, and an operator is told and can resume it."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.registry import find_kind
from jobs.run import Run
from mail.broadcasts import release
from mail.events import apply, ingest
from mail.events.provider_event import from_mailgun
from mail.models import Alert, Attempt, Broadcast, Message, Stream
from mail.policy import guard
from mail.policy.guard_limits import Limits, Rates, reason_to_stop
from tests.support.api_clients import assert_problem
from tests.support.factories import make_job
from tests.support.mail.broadcasts import BROADCASTS, make_template, post, recipients, run
from tests.support.mail.mailgun_webhooks import failure, make_attempt, make_event
from tests.support.mail.messages import MAIL, make_message
from tests.support.mail.sending import NOBODY, provider, sending_by, work_on

pytest_plugins = ["tests.support.api_fixtures"]

GRACE = "grace@example.org"
counts = st.integers(0, 3000)


# --- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "stops"),
    [
        ({"delivered": 190, "bounced": 9}, ""),
        ({"delivered": 190, "bounced": 10}, "bounced"),
        ({"delivered": 191, "bounced": 10}, ""),
        ({"delivered": 0, "bounced": 199}, ""),
        ({"delivered": 0, "bounced": 200}, "bounced"),
        ({"delivered": 198, "complained": 1}, ""),
        ({"delivered": 199, "complained": 1}, "complained"),
        ({"delivered": 997, "complained": 3}, "complained"),
        ({"delivered": 998, "complained": 2}, ""),
        ({"queued": 9000, "sent": 9000, "failed": 9000, "suppressed": 9000, "delivered": 199, "bounced": 0}, ""),
        ({}, ""),
    ],
)
def test_the_guard_stops_at_its_limits_and_not_before(figures: dict[str, int], stops: str) -> None:
    reason = reason_to_stop(Rates.of(figures), Limits())
    assert stops in reason
    assert bool(reason) is bool(stops)


@given(counts, counts, counts)
def test_too_few_outcomes_stop_nothing(delivered: int, bounced: int, complained: int) -> None:
    reason = reason_to_stop(Rates(delivered + complained, bounced, complained), Limits())
    if delivered + bounced + complained < 200 or bounced == complained == 0:
        assert not reason


# --- broadcasts and streams ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _small_limits(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MAIL_GUARD_MINIMUM, settings.MAIL_GUARD_BOUNCES = 4, 25.0
    monkeypatch.setattr(release, "WINDOW", 6)


@pytest.fixture
def broadcast(api: APIClient, ada: User) -> Broadcast:
    """Of ten messages, six of which are queued."""
    make_template(ada)
    run(post(api, recipients=recipients(10), stream="news"))
    return Broadcast.objects.get()


def send(count: int, **rows: Any) -> list[Message]:
    """Mark so many messages as sent; no event follows."""
    messages = list(Message.objects.filter(status="queued", awaits_release=False, **rows).order_by("row")[:count])
    Message.objects.filter(pk__in=[message.pk for message in messages]).update(
        status="sent", provider="mailgun", sent_at=timezone.now()
    )
    return messages


def tell(message: Message, event: str) -> None:
    """A provider's event, taken and applied."""
    attempt = message.attempts.first() or make_attempt(message)
    report = failure(attempt, code=550) if event == "bounced" else make_event(attempt, event)
    taken = ingest.ingest(from_mailgun(report))
    assert taken
    apply.apply(taken.pk)


def run_checks() -> None:
    kind = find_kind(guard.KIND)
    for job in Job.objects.filter(kind=guard.KIND):
        kind.handler(Run(job), **kind.handler_arguments(job.params))


def bounce_one_of(count: int, **rows: Any) -> None:
    bad, *good = send(count, **rows)
    for message in good:
        tell(message, "delivered")
    tell(bad, "bounced")
    run_checks()


def test_a_broadcast_that_bounces_is_stopped_with_an_alert(broadcast: Broadcast) -> None:
    bounce_one_of(4)
    broadcast.refresh_from_db()
    assert broadcast.stopped_at
    assert broadcast.stop_reason == "1 of 4 messages bounced: 25 %, the limit is 25 %"
    told = Alert.objects.get(kind="broadcast_stopped")
    assert told.detail == f"broadcast {broadcast.pk} was stopped: {broadcast.stop_reason}"


def test_nothing_more_of_a_stopped_broadcast_is_sent(broadcast: Broadcast, settings: Any) -> None:
    first, second = Message.objects.filter(status="queued", awaits_release=False).order_by("-row")[:2]
    attempts = Attempt.objects.filter(message__in=[first, second])
    bounce_one_of(4)
    assert release.release_all() == 0
    with sending_by(settings, provider(NOBODY)):
        assert (work_on(first), work_on(second)) == (0, 0)
        assert not attempts.exists()
        assert Message.objects.by_status() == {"delivered": 3, "bounced": 1, "queued": 6}
        guard.resume(Broadcast.objects.get())
        guard.resume(Stream.objects.get())
        assert release.release_all() == 6
        assert work_on(first) > 0
    assert [attempt.message for attempt in attempts] == [first]


def test_the_jobs_of_messages_that_wait_for_their_release_again_are_cancelled(broadcast: Broadcast) -> None:
    left = Message.objects.filter(awaits_release=False).order_by("-row").values_list("job_id", flat=True)[:2]
    expected = set(left)
    bounce_one_of(4)
    assert set(Job.objects.filter(status="cancelled").values_list("pk", flat=True)) == expected


def test_a_broadcast_stopped_while_its_messages_are_made_queues_no_more(
    api: APIClient, ada: User, broadcast: Broadcast
) -> None:
    answer = post(api, recipients=recipients(3))
    Broadcast.objects.update(stopped_at=timezone.now())
    assert run(answer)["accepted"] == 3
    assert not Message.objects.filter(broadcast=answer.json()["id"], awaits_release=False).exists()


def test_complaints_stop_a_broadcast_at_a_lower_rate(broadcast: Broadcast) -> None:
    complains, *others = send(6)
    for message in others:
        tell(message, "delivered")
    run_checks()
    assert not Broadcast.objects.filter(stopped_at__isnull=False).exists()
    tell(complains, "complained")
    run_checks()
    assert "complained about" in Broadcast.objects.get().stop_reason


def test_many_events_cause_one_check(broadcast: Broadcast) -> None:
    for message in send(4):
        tell(message, "bounced")
    assert Job.objects.filter(kind=guard.KIND).count() == 2  # the broadcast and its stream
    assert Job.objects.filter(kind=guard.KIND, status="scheduled").count() == 2


def test_active_broadcasts_are_checked_even_without_events(broadcast: Broadcast) -> None:
    messages = send(4)
    Message.objects.filter(pk__in=[message.pk for message in messages]).update(
        status="bounced", finished_at=timezone.now()
    )
    assert guard.check_active_broadcasts() == 1
    assert guard.check_active_broadcasts() == 0


def test_the_guard_can_be_switched_off(broadcast: Broadcast, settings: Any) -> None:
    settings.MAIL_GUARD = False
    bounce_one_of(4)
    assert guard.check_active_broadcasts() == 0
    assert not Alert.objects.filter(kind="broadcast_stopped").exists()


def test_mail_of_a_stopped_stream_waits_unless_it_is_critical(ada: User, settings: Any) -> None:
    for _ in range(4):
        make_message("queued", user=ada, stream="news", importance="bulk")
    Stream.objects.ensure([(ada.pk, "news")])
    bounce_one_of(4, stream="news")
    assert "bounced" in Stream.objects.get().stop_reason
    assert Alert.objects.filter(kind="stream_stopped").exists()
    with sending_by(settings, provider(NOBODY)):
        waits = {
            importance: work_on(make_message(user=ada, stream="news", importance=importance, address=GRACE))
            for importance in ("bulk", "normal", "critical")
        }
        other = work_on(make_message(user=ada, stream="offers", importance="bulk", address=GRACE))
    assert waits["bulk"] > 3000 < waits["normal"]
    assert waits["critical"] < 3000 > other


def test_a_stopped_stream_holds_its_broadcasts(broadcast: Broadcast) -> None:
    Broadcast.objects.update(watched_from=timezone.now() + timedelta(days=1))  # so that it is not stopped
    bounce_one_of(4)
    assert (Broadcast.objects.get().stopped_at, bool(Stream.objects.get().stopped_at)) == (None, True)
    assert Message.objects.filter(status="queued", awaits_release=True).count() == 6
    assert release.release_all() == 0
    guard.resume(Stream.objects.get())
    assert release.release_all() == 6


# --- resuming ------------------------------------------------------------------------------------------------------


def allow_resuming(user: User) -> None:
    user.user_permissions.add(Permission.objects.get(codename="resume_stopped"))


def test_a_broadcast_is_resumed_by_a_user_with_the_permission(api: APIClient, ada: User, broadcast: Broadcast) -> None:
    url = f"{BROADCASTS}{broadcast.pk}/"
    allow_resuming(ada)
    assert_problem(api.post(f"{url}resumption/"), 409)
    bounce_one_of(4)
    assert (bool(api.get(url).json()["stopped_at"]), "bounced" in api.get(url).json()["stop_reason"]) == (True, True)
    ada.user_permissions.clear()
    assert_problem(api.post(f"{url}resumption/"), 403)
    allow_resuming(ada)
    shown = api.post(f"{url}resumption/")
    assert (shown.status_code, shown.json()["stopped_at"], shown.json()["stop_reason"]) == (200, None, None)
    guard.resume(Stream.objects.get())
    assert release.release_all() == 6
    run_checks()
    assert Broadcast.objects.get().stopped_at is None


def test_resuming_a_stream_makes_its_waiting_mail_due(api: APIClient, ada: User) -> None:
    url = f"{MAIL}streams/news/"
    allow_resuming(ada)
    Stream.objects.ensure([(ada.pk, "news")])
    job = make_job("retrying", kind="mail.send_bulk", run_at=timezone.now() + timedelta(hours=1))
    make_message(user=ada, stream="news", importance="bulk", job_id=job.pk)
    Stream.objects.update(stopped_at=timezone.now(), stop_reason="x")
    shown = api.get(url).json()
    assert (shown["stop_reason"], shown["bounce_rate"], shown["complaint_rate"]) == ("x", None, None)
    assert_problem(api.post(f"{url}resumption/", {"reason": "x"}), 400)
    assert api.post(f"{url}resumption/").json()["stopped_at"] is None
    assert_problem(api.post(f"{url}resumption/"), 409)
    job.refresh_from_db()
    assert job.run_at <= timezone.now()


@pytest.mark.parametrize("model", [Broadcast, Stream])
def test_what_waits_is_released_after_a_resumption_even_if_nothing_waited_when_it_was_stopped(
    broadcast: Broadcast, model: Any
) -> None:
    model.objects.update(stopped_at=timezone.now())
    Broadcast.objects.update(released_at=timezone.now())
    guard.resume(model.objects.get())
    Message.objects.filter(awaits_release=False).update(status="delivered", finished_at=timezone.now())
    assert release.release_all() == 4
    assert Broadcast.objects.get().released_at


def test_a_stopped_broadcast_can_be_cancelled(api: APIClient, broadcast: Broadcast) -> None:
    bounce_one_of(4)
    assert api.post(f"{BROADCASTS}{broadcast.pk}/cancellation/").status_code == 200
    assert Job.objects.filter(kind="mail.broadcast_cancellation").exists()
