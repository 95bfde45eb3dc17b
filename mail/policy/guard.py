"""Stops broadcasts and streams with too many bounces or complaints (limits: mail.policy.guard_limits).

A bounce or complaint submits the job mail.guard, which checks the message's broadcast and stream. What was stopped
waits until somebody resumes it.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import UniqueKeyTaken
from jobs.models import Job
from jobs.models.states import Status as JobStatus
from jobs.submit import submit
from mail import alerts
from mail.errors import NotStopped
from mail.models import Broadcast, Message, RateBucket, Stream
from mail.models.queryset import MessageQuerySet
from mail.policy.guard_limits import Limits, Rates, reason_to_stop
from mail.status import Status
from mail.submit import SENDING

log = structlog.get_logger(__name__)

KIND = "mail.guard"
CHECK_AFTER = timedelta(seconds=5)
"""So that events in a row cause one check."""
STREAM_DAYS = 7
"""Days of mail that a stream's rates count."""
HARMFUL = frozenset({Status.BOUNCED, Status.COMPLAINED})


def check_soon(message: Message) -> None:
    """If this message bounced or was complained about, submit checks of its broadcast and its stream."""
    if message.status not in HARMFUL or not settings.MAIL_GUARD:
        return
    if message.broadcast_id:
        _submit_check({"broadcast": str(message.broadcast_id)})
    if message.stream and message.user_id:
        _submit_check({"user": message.user_id, "stream": message.stream})


def check_broadcast(broadcast_id: UUID) -> bool:
    """Stop this broadcast if it is over a limit; True if it was stopped now."""
    broadcast = Broadcast.objects.filter(pk=broadcast_id, stopped_at=None).defer("recipients", "refused").first()
    if broadcast is None:
        return False
    reason = reason_to_stop(rates_of_broadcast(broadcast), _limits())
    return bool(reason) and _stop(broadcast, f"broadcast {broadcast.pk}", reason, "broadcast_stopped")


def check_stream(user_id: int, name: str) -> bool:
    """Stop this stream if it is over a limit; True if it was stopped now."""
    stream = Stream.objects.filter(user=user_id, name=name, stopped_at=None).first()
    if stream is None:
        return False
    reason = reason_to_stop(rates_of_stream(stream), _limits())
    return bool(reason) and _stop(stream, f"stream {name} of user {user_id}", reason, "stream_stopped")


def check_active_broadcasts() -> int:
    """Check all broadcasts that are being released, even without events; returns how many were stopped."""
    if not settings.MAIL_GUARD:
        return 0
    return sum(map(check_broadcast, list(Broadcast.objects.to_release().values_list("pk", flat=True))))


def _submit_check(params: dict[str, Any]) -> None:
    key = f"{KIND} {'/'.join(map(str, params.values()))}"
    if not Job.objects.unfinished().filter(user=None, unique_key=key).exists():
        with suppress(UniqueKeyTaken):
            submit(KIND, params, unique_key=key, run_at=timezone.now() + CHECK_AFTER)


def rates_of_broadcast(broadcast: Broadcast) -> Rates:
    return _rates(Message.objects.filter(broadcast=broadcast.pk), broadcast.watched_from)


def rates_of_stream(stream: Stream) -> Rates:
    since = timezone.now() - timedelta(days=STREAM_DAYS)
    own = Message.objects.filter(user=stream.user_id, stream=stream.name, created_at__gte=since)
    return _rates(own, stream.watched_from)


def resume(stopped: Broadcast | Stream) -> None:
    """Continue; only mail sent from now on counts. Raises NotStopped."""
    rows: Any = type(stopped)._default_manager.filter(pk=stopped.pk)
    with transaction.atomic():
        if not rows.filter(stopped_at__isnull=False).update(stopped_at=None, stop_reason="", watched_from=Now()):
            raise NotStopped(stopped)
        # Again, because released_at may have been set, or a failed call have queued its message, while it was stopped.
        unreleased = _mail_of(stopped).pending().filter(broadcast__isnull=False, awaits_release=True)
        Broadcast.objects.filter(pk__in=unreleased.values("broadcast")).update(released_at=None)
    RateBucket.objects.plan_anew()
    waiting = _mail_of(stopped).filter(status=Status.QUEUED, awaits_release=False).values("job_id")
    Job.objects.filter(pk__in=waiting, kind__in=SENDING, status=JobStatus.RETRYING).update(run_at=Now())
    log.info("mail_resumed", what=type(stopped).__name__, id=str(stopped.pk))


def _stop(subject: Broadcast | Stream, what: str, reason: str, alert: str) -> bool:
    """Stop it, with an alert; False if it was stopped already.

    Queued messages of broadcasts wait for their release again, which gives them new jobs.
    """
    rows: Any = type(subject)._default_manager.filter(pk=subject.pk, stopped_at=None)
    with transaction.atomic():
        if not rows.update(stopped_at=Now(), stop_reason=reason):
            return False
        queued = _mail_of(subject).filter(broadcast__isnull=False, status=Status.QUEUED, awaits_release=False)
        Broadcast.objects.filter(pk__in=queued.values("broadcast")).update(released_at=None)
        Job.objects.filter(pk__in=queued.values("job_id")).cancel_waiting()
        queued.update(awaits_release=True, job_id=None)
        alerts.alert(alert, f"{what} was stopped: {reason}")
    return True


def _mail_of(subject: Broadcast | Stream) -> MessageQuerySet:
    found: MessageQuerySet = (
        Message.objects.filter(broadcast=subject.pk)
        if isinstance(subject, Broadcast)
        else Message.objects.filter(user=subject.user_id, stream=subject.name)
    )
    return found


def _rates(messages: MessageQuerySet, watched_from: datetime | None) -> Rates:
    counted = messages.filter(sent_at__gte=watched_from) if watched_from else messages
    return Rates.of(counted.by_status())


def _limits() -> Limits:
    return Limits(settings.MAIL_GUARD_MINIMUM, settings.MAIL_GUARD_BOUNCES, settings.MAIL_GUARD_COMPLAINTS)
