"""The state of providers and of recipients' domains, and alerts."""

from django.db import models
from django.utils import timezone


class Provider(models.Model):
    """A provider's circuit breaker and the pause that it asked for, as all workers see them."""

    name = models.CharField(primary_key=True, max_length=50)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    opened_at = models.DateTimeField(null=True, blank=True, help_text="Since when the breaker is open.")
    open_until = models.DateTimeField(null=True, blank=True, help_text="When one message may try it again.")
    paused_until = models.DateTimeField(null=True, blank=True, help_text="It asked for a pause (429).")
    reason = models.CharField(max_length=500, default="", blank=True)
    refused_domains = models.JSONField(
        default=list, db_default=[], blank=True, help_text="Of senders that it has refused since it accepted a message."
    )

    def __str__(self) -> str:
        return self.name

    @property
    def is_paused(self) -> bool:
        return self.paused_until is not None and self.paused_until > timezone.now()


class RefusedSender(models.Model):
    """A provider refuses the mail of this sender, and gets no more of it until `until`."""

    provider = models.CharField(max_length=50)
    sender = models.CharField(max_length=320, help_text="Its address.")
    times = models.PositiveIntegerField(default=0, help_text="In a row.")
    refused_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()
    reason = models.CharField(max_length=500, default="", blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(name="one_refusal_per_sender", fields=("provider", "sender")),)

    def __str__(self) -> str:
        return f"{self.provider} {self.sender}"


class EventLogPosition(models.Model):
    """How far the event log of a provider's domain has been read: up to `read_until`."""

    provider = models.CharField(max_length=50)
    domain = models.CharField(max_length=255)
    read_until = models.DateTimeField(help_text="By the provider's clock.")
    configured_at = models.DateTimeField(help_text="When the domain was last one of the configuration.")

    class Meta:
        constraints = (models.UniqueConstraint(name="one_position_per_log", fields=("provider", "domain")),)

    def __str__(self) -> str:
        return f"{self.provider} {self.domain} {self.read_until:%Y-%m-%d %H:%M:%S}"


class Slowdown(models.Model):
    """A recipients' domain whose servers block us: its bulk mail waits."""

    domain = models.CharField(primary_key=True, max_length=255)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.domain


class DomainBlock(models.Model):
    """Mail to an address was blocked by its domain's server. Blocks of several addresses cause a Slowdown."""

    domain = models.CharField(max_length=255)
    digest = models.CharField(max_length=64, help_text="Of the address.")
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        indexes = (models.Index("domain", "at", name="blocks_of_domain"),)

    def __str__(self) -> str:
        return self.domain


class Alert(models.Model):
    """Something that operators should know (mail.alerts)."""

    kind = models.CharField(max_length=50)
    detail = models.TextField(default="", blank=True)
    provider = models.CharField(max_length=50, default="", blank=True)
    message = models.ForeignKey("Message", models.SET_NULL, null=True, blank=True, related_name="alerts")
    at = models.DateTimeField(default=timezone.now, db_index=True)
    told_at = models.DateTimeField(null=True, blank=True, help_text="When settings.MAIL_ALERT_TO was told.")

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index("kind", "told_at", name="alerts_told"),)

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')}: {self.detail}"
