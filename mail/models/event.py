"""Events of messages, and the webhook tokens that were used."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from jobs.models.ids import new_id
from mail.failure import FailureClass
from mail.models.attempt import Attempt


class Event(models.Model):
    """Something that a provider reported of a message, or that we note. Kept as long as its message.

    type: a mail.events.classify.EventType, the provider's own word, or one of ours. failure_class: the policy's input,
    if any. key: identifies a provider's event that comes again. raw: as it came; erased with the message's body.
    disregarded: why it was not believed; such an event belongs to no message and has no effect.
    """

    class Source(models.TextChoices):
        WEBHOOK = "webhook"  # reported by a provider
        LOOKUP = "lookup"  # found in the provider's events API
        OURS = "legwork"  # noted by ourselves

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    message = models.ForeignKey("Message", models.CASCADE, null=True, blank=True, related_name="events")
    attempt = models.ForeignKey(Attempt, models.SET_NULL, null=True, blank=True, related_name="events")
    source = models.CharField(max_length=10, choices=Source.choices)
    provider = models.CharField(max_length=50, default="", blank=True)
    type = models.CharField(max_length=50)
    at = models.DateTimeField(default=timezone.now, help_text="When it happened, as the provider says.")
    received_at = models.DateTimeField(default=timezone.now)
    failure_class = models.CharField(max_length=20, choices=FailureClass.choices, default="", blank=True)
    detail = models.TextField(default="", blank=True)
    raw = models.JSONField(null=True, blank=True)
    key = models.CharField(max_length=64, null=True, blank=True, unique=True)
    applied_at = models.DateTimeField(null=True, blank=True, help_text="When its effect took place.")
    disregarded = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        ordering = ("id",)
        indexes = (
            models.Index(
                "received_at",
                name="event_to_apply",
                condition=Q(applied_at__isnull=True, disregarded="") & ~Q(source="legwork"),
            ),
            models.Index("received_at", name="event_disregarded", condition=~Q(disregarded="")),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"


class WebhookTokenQuerySet(models.QuerySet[Any]):
    def use(self, token: str, event_key: str) -> bool:
        """Store that the token came with this event; False if it came with another one before."""
        self.bulk_create([WebhookToken(token=token, event_key=event_key)], ignore_conflicts=True)
        return self.filter(token=token, event_key=event_key).exists()


class WebhookToken(models.Model):
    """The token of a webhook: its signature is valid for one event (Mailgun, "Securing webhooks")."""

    token = models.CharField(primary_key=True, max_length=100)
    event_key = models.CharField(max_length=64, help_text="Of the event that came with it.")
    used_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = WebhookTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return self.token
