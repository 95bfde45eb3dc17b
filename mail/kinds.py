"""The kinds of job that mail consists of. They are ours: clients post messages and broadcasts, not these."""

from typing import Any
from uuid import UUID

from rest_framework import serializers

from jobs.errors import TransientError
from jobs.registry import job, minutes
from jobs.retry import exponential
from jobs.run import Run
from jobs.strict import StrictSerializer
from mail import effects
from mail.broadcast import carry_out


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


class BroadcastParams(StrictSerializer):
    """What mail.broadcast takes."""

    broadcast = serializers.UUIDField()


@job("mail.broadcast", params=BroadcastParams, timeout=minutes(6 * 60), retry=exponential(attempts=10), internal=True)
def broadcast(run: Run, *, broadcast: UUID) -> dict[str, Any]:
    """Make a message of one template for each of many addresses; after a crash it goes on where it was."""
    return carry_out(run, broadcast)
