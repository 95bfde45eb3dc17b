"""The job kinds of mail. All are internal: clients post messages and broadcasts, not these jobs."""

from typing import Any
from uuid import UUID

from django.conf import settings
from rest_framework import serializers

from jobs.registry import job, minutes
from jobs.retry import exponential
from jobs.run import Run
from mail import alerts
from mail.broadcasts.cancellation import KIND as BROADCAST_CANCELLATION
from mail.broadcasts.cancellation import cancel_broadcast, cancel_unsent
from mail.broadcasts.fan_out import fan_out
from mail.events import apply, reconciliation
from mail.policy import guard
from mail.sending import batches
from mail.sending.batches import Accepted, Call, conclude
from mail.sending.send import send as send_message
from mail.submit import SEND, SEND_BULK
from mail.suppressions import lifting, provider_lists
from rest.requests.strict import StrictSerializer


class SendParams(StrictSerializer):
    """Params of mail.send."""

    message = serializers.UUIDField()


class AlertParams(StrictSerializer):
    """Params of mail.alert."""

    kind = serializers.CharField()


class EventParams(StrictSerializer):
    """Params of mail.event."""

    event = serializers.UUIDField()


def begin(arguments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The arguments of handlers that are about to send: calls instead of messages where they could be begun."""
    calls = batches.begin([each["message"] for each in arguments])
    # Each call once: a second job of its message gets the message, and finds the attempt.
    return [{"message": calls.pop(each["message"], each["message"])} for each in arguments]


@job(
    SEND,
    params=SendParams,
    timeout=minutes(5),
    retry=exponential(attempts=None, base=5, cap=300),
    queue="mail",
    threads=settings.MAIL_THREADS,
    internal=True,
    prepare=begin,
    conclude=conclude,
)
def send(run: Run, *, message: UUID | Call) -> Accepted | str:
    """Send a message; retried until a provider has accepted it or it is given up."""
    return send_message(message)


@job(
    SEND_BULK,
    params=SendParams,
    timeout=minutes(5),
    retry=exponential(attempts=None, base=5, cap=300),
    queue="mail",
    threads=max(1, settings.MAIL_THREADS * 3 // 4),
    internal=True,
    prepare=begin,
    conclude=conclude,
)
def send_bulk(run: Run, *, message: UUID | Call) -> Accepted | str:
    """As mail.send, for bulk mail and broadcasts, with fewer threads: mail.send never waits for bulk mail."""
    return send_message(message)


@job(alerts.KIND, params=AlertParams, retry=exponential(attempts=10, base=30), internal=True)
def alert(run: Run, *, kind: str) -> dict[str, int]:
    """Send operators the unsent alerts of this kind."""
    return {"sent": alerts.send_unsent(kind)}


@job("mail.reconcile", timeout=minutes(10), retry=exponential(attempts=1), internal=True)
def reconcile(run: Run) -> dict[str, int]:
    """Read the providers' event logs, and submit jobs for messages that have lost theirs."""
    return reconciliation.reconcile()


@job("mail.event", params=EventParams, internal=True)
def event(run: Run, *, event: UUID) -> dict[str, bool]:
    """Apply a provider's event to its message."""
    return {"applied": apply.apply(event)}


class LiftParams(StrictSerializer):
    """Params of mail.lift."""

    lift = serializers.IntegerField()


@job(lifting.KIND, params=LiftParams, retry=exponential(attempts=20, base=5, cap=3600), internal=True)
def lift_at_providers(run: Run, *, lift: int) -> dict[str, int]:
    """Remove a lifted address from the providers' own lists, which would reject it again."""
    return {"removed": lifting.lift_at_providers(lift)}


@job("mail.compare_lists", timeout=minutes(60), retry=exponential(attempts=5, base=60), internal=True)
def compare_lists(run: Run) -> dict[str, int]:
    """Import the providers' suppression lists, and remove from them what was lifted here."""
    return provider_lists.compare()


class BroadcastParams(StrictSerializer):
    """Params of mail.broadcast."""

    broadcast = serializers.UUIDField()


@job(
    "mail.broadcast",
    params=BroadcastParams,
    timeout=minutes(6 * 60),
    retry=exponential(attempts=10),
    internal=True,
    on_cancel=cancel_broadcast,
)
def broadcast(run: Run, *, broadcast: UUID) -> dict[str, Any]:
    """Make a message of one template for each of many addresses; continues after a crash where it stopped."""
    return fan_out(run, broadcast)


@job(BROADCAST_CANCELLATION, params=BroadcastParams, retry=exponential(attempts=None), internal=True)
def broadcast_cancellation(run: Run, *, broadcast: UUID) -> dict[str, int]:
    """Cancel the unsent messages of a cancelled broadcast."""
    return {"cancelled": cancel_unsent(broadcast)}


class GuardParams(StrictSerializer):
    """Params of mail.guard: a broadcast, or a user and the name of a stream."""

    broadcast = serializers.UUIDField(required=False)
    user = serializers.IntegerField(required=False)
    stream = serializers.CharField(required=False)


@job(guard.KIND, params=GuardParams, internal=True)
def guard_check(run: Run, *, broadcast: UUID | None = None, user: int = 0, stream: str = "") -> dict[str, bool]:
    """Stop a broadcast or stream if too much of its mail bounced or was complained about."""
    stopped = guard.check_broadcast(broadcast) if broadcast else guard.check_stream(user, stream)
    return {"stopped": stopped}
