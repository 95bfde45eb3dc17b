"""A message's statuses and their precedence: the status does not depend on the order in which events arrive."""

from django.db.models import TextChoices


class Status(TextChoices):
    SCHEDULED = "scheduled"  # accepted; its send_at lies ahead
    QUEUED = "queued"  # to be sent now, or again after a transient failure
    SENDING = "sending"  # a provider is being called, or the outcome of the call is ambiguous
    SENT = "sent"  # a provider has accepted it
    DEFERRED = "deferred"  # the recipient's server wants it later; the provider keeps trying
    DELIVERED = "delivered"  # the recipient's server has it
    BOUNCED = "bounced"  # the recipient's server refused it for good
    COMPLAINED = "complained"  # the recipient called it spam
    REJECTED = "rejected"  # the provider refused it
    SUPPRESSED = "suppressed"  # not sent: the address is suppressed
    FAILED = "failed"  # given up
    EXPIRED = "expired"  # not sent in time
    CANCELLED = "cancelled"  # not sent: its user cancelled it


CANCELLABLE = frozenset({Status.SCHEDULED, Status.QUEUED})
"""No provider is being called."""

PENDING = CANCELLABLE | {Status.SENDING}
"""We have to send it."""

UNDER_WAY = frozenset({Status.SENT, Status.DEFERRED})
"""A provider has it and will report the result."""

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

PRECEDENCE: dict[Status, int] = {
    Status.SCHEDULED: 0,
    Status.QUEUED: 0,
    Status.SENDING: 0,
    # Our own decisions. A provider that has the message after all overrides them.
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
"""A status replaces those of lower precedence, whichever is learnt first."""


def outranked_by(status: Status) -> frozenset[Status]:
    """The statuses that this one replaces."""
    return frozenset(other for other, precedence in PRECEDENCE.items() if precedence < PRECEDENCE[status])
