"""Attempts: the calls of providers."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models.ids import new_id
from mail.failure import Failure, FailureClass, Outcome

PROVIDER_ID_LENGTH = 255


class Attempt(models.Model):
    """One call of one provider for one message. The mail carries its id as metadata, to match events to it.

    service, domain: as they were when it was sent; events must match them. outcome: empty during the call, and
    afterwards if the process died in it. unrecorded: not a call, but a placeholder for those that the provider may have
    received after the backup from which this database was restored (mail.sending.restored).
    """

    Outcome = Outcome

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    message = models.ForeignKey("Message", models.CASCADE, related_name="attempts")
    provider = models.CharField(max_length=50, help_text="The account's name in the configuration of that time.")
    service = models.CharField(max_length=50, default="", blank=True, help_text="Anymail's name of the service.")
    domain = models.CharField(max_length=255, default="", blank=True, help_text="From which it was sent.")
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default="", blank=True)
    failure_class = models.CharField(max_length=20, choices=FailureClass.choices, default="", blank=True)
    detail = models.TextField(default="", blank=True)
    provider_message_id = models.CharField(max_length=PROVIDER_ID_LENGTH, default="", blank=True)
    unrecorded = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = ("id",)
        constraints = (
            # Never two calls for one message at the same time.
            models.UniqueConstraint(name="one_attempt_under_way", fields=("message",), condition=Q(outcome="")),
        )
        indexes = (
            models.Index("provider_message_id", name="attempt_provider_message", condition=~Q(provider_message_id="")),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.pk}"

    @property
    def ambiguous(self) -> bool:
        """True if it is unknown whether the provider has the message."""
        return self.outcome in ("", Outcome.AMBIGUOUS)

    def conclude(self, outcome: str, failure: Failure | None = None, provider_message_id: str = "") -> bool:
        """Record the outcome of the call; False if it has one already.

        An ambiguous outcome may change; accepted is proven and replaces any other.
        """
        row = Attempt.objects.filter(pk=self.pk)
        proven = outcome == Attempt.Outcome.ACCEPTED
        unsettled = row.exclude(outcome=outcome) if proven else row.filter(outcome__in=["", Attempt.Outcome.AMBIGUOUS])
        settled = unsettled.update(
            outcome=outcome,
            finished_at=Now(),
            failure_class=failure.kind if failure else "",
            detail=failure.detail if failure else "",
            provider_message_id=provider_message_id or F("provider_message_id"),
        )
        self.refresh_from_db()
        return bool(settled)
