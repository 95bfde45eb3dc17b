"""Counts a broadcast's messages by how far they have come: made, sent, delivered, opened …"""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from mail.models import Broadcast, Message
from mail.status import PENDING, Status

STEPS: dict[str, Q] = {
    "made": Q(),
    "queued": Q(status__in=PENDING),
    "sent": Q(sent_at__isnull=False),
    "delivered": Q(status__in=(Status.DELIVERED, Status.COMPLAINED)),
    "opened": Q(opens__gt=0),
    "clicked": Q(clicks__gt=0),
    "deferred": Q(status=Status.DEFERRED),
    "bounced": Q(status=Status.BOUNCED),
    "complained": Q(status=Status.COMPLAINED),
    "not_sent": Q(
        status__in=(Status.REJECTED, Status.SUPPRESSED, Status.FAILED, Status.EXPIRED, Status.CANCELLED),
    ),
}
"""Which messages a step counts. A message is in several: what was complained about was delivered and sent before."""


@dataclass(frozen=True)
class Step:
    """percent: of the messages that were made."""

    name: str
    count: int
    percent: float


def funnel(broadcast: Broadcast) -> list[Step]:
    """One query, by the index of the broadcast's messages."""
    counts: dict[str, Any] = {name: Count("pk", filter=which or None) for name, which in STEPS.items()}
    found = Message.objects.filter(broadcast=broadcast).order_by().aggregate(**counts)
    return [Step(name, found[name], 100 * found[name] / max(found["made"], 1)) for name in STEPS]
