"""The kinds of job that mail consists of. They are ours: clients post messages and broadcasts, not these."""

from uuid import UUID

from rest_framework import serializers

from jobs.errors import TransientError
from jobs.registry import job
from jobs.run import Run
from jobs.strict import StrictSerializer
from mail import effects


class SendParams(StrictSerializer):
    """What mail.send takes."""

    message = serializers.UUIDField()


class EventParams(StrictSerializer):
    """What mail.event takes."""

    event = serializers.UUIDField()


@job("mail.send", params=SendParams, internal=True)
def send(run: Run, *, message: UUID) -> None:
    """Send a message by the provider whose turn it is."""
    raise TransientError("sending is not built yet")


@job("mail.event", params=EventParams, internal=True)
def event(run: Run, *, event: UUID) -> dict[str, bool]:
    """Let what a provider told of a message have its effect."""
    return {"applied": effects.apply(event)}
