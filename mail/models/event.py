"""What was said about messages, by providers and by us."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from jobs.models.ids import new_id
from mail.failure import FailureClass
from mail.models.attempt import Attempt


class Event(models.Model):
    """Something that was said about a message, by a provider or by us. Never changed once it is believed, and never
    deleted before its message.

    type: one of mail.events.classify.News, the provider's own word, or ours. failure_class: what the policy decides on,
    if any.
    key: what makes a provider's event the same one when it comes again. raw: as it came; erased with the body.
    disregarded: why it was not believed; such an event belongs to no message, and changes none.
    """

    class Source(models.TextChoices):
        WEBHOOK = "webhook"  # a provider told us
        LOOKUP = "lookup"  # we asked the provider
        OURS = "legwork"  # our own decision

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
        """Note that the token has come with this event; False when it has come with another one."""
        self.bulk_create([WebhookToken(token=token, event_key=event_key)], ignore_conflicts=True)
        return self.filter(token=token, event_key=event_key).exists()


class WebhookToken(models.Model):
    """A webhook's token that has been used: a signature is good for one event (Mailgun, "Securing webhooks")."""

    token = models.CharField(primary_key=True, max_length=100)
    event_key = models.CharField(max_length=64, help_text="Of the event that came with it.")
    used_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = WebhookTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return self.token
