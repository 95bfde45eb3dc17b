"""What is known of a message, and which knowledge weighs more: by precedence, never by the order of arrival."""

from django.db.models import TextChoices


class Status(TextChoices):
    SCHEDULED = "scheduled"  # accepted; its send_at lies ahead
    QUEUED = "queued"  # to be sent: now, or again after a failure that passes
    SENDING = "sending"  # a provider is being called, or was and nobody knows what came of it
    SENT = "sent"  # a provider has accepted it
    DEFERRED = "deferred"  # the recipient's server wants it later; the provider goes on trying
    DELIVERED = "delivered"  # the recipient's server has it
    BOUNCED = "bounced"  # the recipient's server refused it for good
    COMPLAINED = "complained"  # the recipient called it spam
    REJECTED = "rejected"  # the provider refused it
    SUPPRESSED = "suppressed"  # not sent: the address is on our list
    FAILED = "failed"  # given up
    EXPIRED = "expired"  # not sent in time
    CANCELLED = "cancelled"  # not sent: its owner did not want it any more


PENDING = frozenset({Status.SCHEDULED, Status.QUEUED, Status.SENDING})
"""Whatever happens next is ours to do."""

UNDER_WAY = frozenset({Status.SENT, Status.DEFERRED})
"""A provider has it, and will say what came of it."""

TERMINAL = frozenset(
    {
        Status.DELIVERED,
        Status.BOUNCED,
        Status.COMPLAINED,
        Status.REJECTED,
        Status.SUPPRESSED,
        Status.FAILED,
        Status.EXPIRED,
        Status.CANCELLED,
    }
)

WEIGHT: dict[Status, int] = {
    Status.SCHEDULED: 0,
    Status.QUEUED: 0,
    Status.SENDING: 0,
    # What we have decided ourselves. A provider that has the message after all knows better.
    Status.SUPPRESSED: 1,
    Status.FAILED: 1,
    Status.EXPIRED: 1,
    Status.CANCELLED: 1,
    Status.SENT: 2,
    Status.DEFERRED: 3,
    Status.REJECTED: 4,
    Status.DELIVERED: 5,
    Status.BOUNCED: 6,
    Status.COMPLAINED: 7,
}
"""The heavier replaces the lighter, whichever is learnt first."""


def lighter_than(status: Status) -> frozenset[Status]:
    """The states that news of this one replaces."""
    return frozenset(other for other, weight in WEIGHT.items() if weight < WEIGHT[status])
