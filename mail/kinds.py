"""The kinds of job that mail consists of. They are ours: clients post messages and broadcasts, not these."""

from uuid import UUID

from rest_framework import serializers

from jobs.errors import TransientError
from jobs.registry import job
from jobs.run import Run
from jobs.strict import StrictSerializer


class SendParams(StrictSerializer):
    """What mail.send takes."""

    message = serializers.UUIDField()


@job("mail.send", params=SendParams, internal=True)
def send(run: Run, *, message: UUID) -> None:
    """Send a message by the provider whose turn it is."""
    raise TransientError("sending is not built yet")
