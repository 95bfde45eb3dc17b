"""Templates, and broadcasts that send one to many recipients."""

from typing import Any, Self

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from jobs.models.ids import new_id
from mail.importance import Importance
from mail.models.stream import LONGEST_NAME, Stream


class Template(models.Model):
    """A user's template: Django's language, rendered in a sandbox."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="templates", db_index=False)
    name = models.SlugField(max_length=100)
    subject = models.CharField(max_length=998)
    text = models.TextField(default="", blank=True)
    html = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(name="one_template_of_a_name", fields=("user", "name")),)

    def __str__(self) -> str:
        return self.name


class BroadcastQuerySet(models.QuerySet[Any]):
    def to_release(self) -> Self:
        """Those that may still have messages to release, and are neither cancelled nor stopped, nor is their stream."""
        stopped = Stream.objects.filter(user=OuterRef("user"), name=OuterRef("stream"), stopped_at__isnull=False)
        return self.filter(~Exists(stopped), released_at__isnull=True, cancelled_at=None, stopped_at=None)


class Broadcast(models.Model):
    """One template to many addresses, with the progress of its job mail.broadcast, which has the same id.

    subject, text, html: the template as it was when the broadcast was accepted. recipients: [{"to", "context"}], or
    null for a row that was refused at once or whose person was forgotten; erased after a time, like all bodies.
    next_row: where the job continues after a crash, from 0. accepted: messages made. suppressed: those whose address
    was suppressed then. refused: the first bad rows, [{"row", "errors"}], rows counted from 1. refusals: how many there
    are, with those forgotten before their message was made.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="broadcasts")
    subject = models.CharField(max_length=998)
    text = models.TextField(default="", blank=True)
    html = models.TextField(default="", blank=True)
    importance = models.CharField(max_length=10, choices=Importance.choices, default=Importance.BULK)
    sender = models.CharField(max_length=500, db_column="from", verbose_name="from", default="", blank=True)
    reply_to = models.JSONField(default=list, blank=True)
    tags = models.JSONField(default=list, blank=True)
    stream = models.CharField(max_length=LONGEST_NAME, default="", blank=True)
    track_opens = models.BooleanField(null=True, blank=True, help_text="Empty: as the provider's account says.")
    track_clicks = models.BooleanField(null=True, blank=True, help_text="Empty: as the provider's account says.")
    test_mode = models.BooleanField(default=False, help_text="The provider accepts it and does not deliver it.")
    send_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Of all its messages.")
    messages_url = models.TextField(default="", blank=True, help_text="Where its owner finds the messages.")
    recipients = models.JSONField(encoder=DjangoJSONEncoder)
    next_row = models.PositiveIntegerField(default=0)
    accepted = models.PositiveIntegerField(default=0)
    suppressed = models.PositiveIntegerField(default=0)
    refused = models.JSONField(default=list)
    refusals = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True, help_text="When the last message was made.")
    released_at = models.DateTimeField(null=True, blank=True, help_text="When the last message was queued.")
    cancelled_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True, help_text="Since when the guard keeps its mail back.")
    stop_reason = models.CharField(max_length=300, default="", blank=True)
    watched_from = models.DateTimeField(null=True, blank=True, help_text="The guard counts mail sent since then.")

    objects = BroadcastQuerySet.as_manager()

    class Meta:
        permissions = (
            ("broadcast_normal", "Can send broadcasts that are not bulk mail"),
            ("resume_stopped", "Can resume own broadcasts and streams that were stopped"),
        )
        indexes = (
            models.Index(
                "created_at", name="broadcast_to_release", condition=Q(released_at__isnull=True, cancelled_at=None)
            ),
        )

    def __str__(self) -> str:
        return f"{self.subject} {self.pk}"

    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()
