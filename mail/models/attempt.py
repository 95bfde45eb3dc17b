"""One call of one provider for one message."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models.ids import new_id
from mail.failure import Failure, FailureClass, Outcome


class Attempt(models.Model):
    """One call of one provider. Its id goes with the mail as metadata, so that events can be matched to it.

    service, domain: events are matched to these, whatever is configured by then. outcome: empty while the call is under
    way, and for ever if the process died in it.
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
    provider_message_id = models.CharField(max_length=255, default="", blank=True)

    class Meta:
        ordering = ("id",)
        constraints = (
            # Two workers never call providers for one message at the same time.
            models.UniqueConstraint(name="one_attempt_under_way", fields=("message",), condition=Q(outcome="")),
        )
        indexes = (
            models.Index("provider_message_id", name="attempt_provider_message", condition=~Q(provider_message_id="")),
        )

    def __str__(self) -> str:
        return f"{self.provider} {self.pk}"

    @property
    def unclear(self) -> bool:
        """Whether the provider may have the message, or not: nobody knows."""
        return self.outcome in ("", Outcome.AMBIGUOUS)

    def conclude(self, outcome: str, failure: Failure | None = None, provider_message_id: str = "") -> bool:
        """Record what came of the call; False when that was known before.

        An ambiguous one may be settled later; that the provider has it is proof against whatever was believed.
        """
        own = Attempt.objects.filter(pk=self.pk)
        proven = outcome == Attempt.Outcome.ACCEPTED
        open_ones = own.exclude(outcome=outcome) if proven else own.filter(outcome__in=["", Attempt.Outcome.AMBIGUOUS])
        settled = open_ones.update(
            outcome=outcome,
            finished_at=Now(),
            failure_class=failure.kind if failure else "",
            detail=failure.detail if failure else "",
            provider_message_id=provider_message_id or F("provider_message_id"),
        )
        self.refresh_from_db()
        return bool(settled)
