"""Why an address is not written to, and how far that goes."""

from django.db.models import TextChoices


class Scope(TextChoices):
    ALL = "all"  # nothing at all is sent
    BULK = "bulk"  # bulk mail is not sent


class Reason(TextChoices):
    BOUNCE = "bounce"
    MAILBOX_FULL = "mailbox_full"
    SOFT_BOUNCES = "soft_bounces"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


WISHES = frozenset({Reason.COMPLAINT, Reason.UNSUBSCRIBE})
"""What the recipient has asked for, other than what happened to mail or what an operator decided."""
