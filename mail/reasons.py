"""The reasons for a suppression, and its scopes."""

from django.db.models import TextChoices


class Scope(TextChoices):
    ALL = "all"  # no mail is sent
    BULK = "bulk"  # bulk mail is not sent


class Reason(TextChoices):
    BOUNCE = "bounce"
    MAILBOX_FULL = "mailbox_full"
    SOFT_BOUNCES = "soft_bounces"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


WISHES = frozenset({Reason.COMPLAINT, Reason.UNSUBSCRIBE})
"""Asked for by the recipient, unlike bounces and operators' decisions."""
