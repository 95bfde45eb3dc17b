"""Suppressed addresses, their lifting, and the strikes that lead to a suppression."""

from datetime import datetime

from django.db import models
from django.utils import timezone

from mail.addresses.normalize import mask_address
from mail.failure import FailureClass
from mail.models.queryset import StrikeQuerySet, SuppressionQuerySet
from mail.reasons import Reason, Scope


class Suppression(models.Model):
    """An address that gets no mail, or no bulk mail. Only the digest is left once the person was forgotten.

    One row for each reason and scope: lifting a bounce must keep the same address's complaint or unsubscription.
    """

    Scope = Scope
    Reason = Reason

    digest = models.CharField(max_length=64, editable=False)
    address = models.CharField(max_length=320, default="", blank=True, db_index=True)
    reason = models.CharField(max_length=20, choices=Reason.choices)
    scope = models.CharField(max_length=5, choices=Scope.choices, default=Scope.ALL)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is lifted by hand.")
    source = models.CharField(max_length=50, help_text="A provider's name, a user's, import or one-click.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = SuppressionQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (models.UniqueConstraint(name="one_suppression_per_fact", fields=("digest", "scope", "reason")),)

    def __str__(self) -> str:
        return mask_address(self.address) if self.address else self.digest[:12]

    def ends_before(self, expires_at: datetime | None) -> bool:
        """True if a suppression with this expires_at would last longer. None: it never expires."""
        return self.expires_at is not None and (expires_at is None or self.expires_at < expires_at)


class Lift(models.Model):
    """A suppression that was lifted here or has expired, to be removed from the providers' own lists.

    Kept for a while afterwards, so that the comparison with these lists does not import it again.
    """

    digest = models.CharField(max_length=64)
    address = models.CharField(max_length=320, default="", blank=True, help_text="Empty once the person was forgotten.")
    reason = models.CharField(max_length=20, choices=Reason.choices)
    lifted_at = models.DateTimeField(default=timezone.now)
    done_at = models.DateTimeField(null=True, blank=True, help_text="When all providers had lifted it.")

    class Meta:
        indexes = (models.Index("digest", name="lifts_of_address"),)

    def __str__(self) -> str:
        return f"{self.reason} {self.digest[:12]}"


class Strike(models.Model):
    """A soft bounce or a full mailbox: several in a row suppress the address, or suppress it for longer."""

    digest = models.CharField(max_length=64)
    kind = models.CharField(max_length=20, choices=FailureClass.choices)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = StrikeQuerySet.as_manager()

    class Meta:
        indexes = (models.Index("digest", "at", name="strikes_of_address"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:12]}"
