"""Messages, what was tried with them, what is known of them, and whom not to write to."""

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from mail import addresses
from mail.errors import AlreadySent, NotSendable
from mail.failure import Failure, FailureClass
from mail.importance import Importance
from mail.queries import MessageQuerySet, SuppressionQuerySet
from mail.status import PENDING, TERMINAL, Status, lighter_than

log = structlog.get_logger(__name__)


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): ids sort by the time they were made."""
    return uuid7()


class Message(models.Model):
    """One e-mail to one recipient, from its POST to the end of its retention.

    subject, text, html: as they are sent; what was given as a template is rendered before it is stored.
    address: the bare recipient, normalized; empty once the person was forgotten. failure: {"class", "detail"} or null.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="messages", db_index=False
    )
    to = models.CharField(max_length=500, help_text="With the name, as it was given.")
    address = models.CharField(max_length=320, blank=True)
    sender = models.CharField(max_length=500, db_column="from", verbose_name="from")
    reply_to = models.JSONField(default=list, blank=True)
    subject = models.CharField(max_length=998)
    text = models.TextField(default="", blank=True)
    html = models.TextField(default="", blank=True)
    headers = models.JSONField(default=dict, blank=True)
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    importance = models.CharField(max_length=10, choices=Importance.choices, default=Importance.NORMAL)
    send_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(help_text="Not sent after this.")
    resend_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="resends")
    broadcast = models.ForeignKey(
        "Broadcast", models.SET_NULL, null=True, blank=True, related_name="messages", db_index=False
    )
    row = models.PositiveIntegerField(null=True, blank=True, help_text="Of the broadcast's recipients; 1 is the first.")
    request_id = models.CharField(max_length=128, default="", blank=True)
    job_id = models.UUIDField(null=True, blank=True, help_text="The job that sends it; pruned before the message is.")

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    provider = models.CharField(max_length=50, default="", blank=True, help_text="Who accepted it.")
    failure = models.JSONField(null=True, blank=True)
    possible_duplicate = models.BooleanField(default=False)
    opens = models.PositiveIntegerField(default=0)
    clicks = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    erased_at = models.DateTimeField(null=True, blank=True, help_text="When body and attachments were erased.")

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="message_finished_at_iff_terminal",
                condition=Q(status__in=TERMINAL, finished_at__isnull=False)
                | (~Q(status__in=TERMINAL) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(name="message_status_known", condition=Q(status__in=Status.values)),
            models.UniqueConstraint(name="one_message_per_row", fields=("broadcast", "row")),
        )
        indexes = (
            models.Index("user", F("id").desc(), name="message_of_user"),
            models.Index("address", F("id").desc(), name="message_to_address"),
            # What the reconciliation looks through: the unfinished, oldest first.
            models.Index("created_at", name="message_unfinished", condition=~Q(status__in=TERMINAL)),
        )

    def __str__(self) -> str:
        return f"{self.subject} {self.pk}"

    @property
    def finished(self) -> bool:
        return self.status in TERMINAL

    @property
    def pending(self) -> bool:
        return self.status in PENDING

    def begin_attempt(self, provider: str) -> "Attempt":
        """Store, before the provider is called, that it is about to be. Raises NotSendable."""
        with transaction.atomic():
            if not self._now().filter(status__in=PENDING).update(status=Status.SENDING):
                raise NotSendable(self.pk)
            return Attempt.objects.create(message=self, provider=provider)

    def wait(self) -> None:
        """Back in the queue: the attempt failed and another will follow."""
        self._change({Status.SENDING, Status.SCHEDULED}, status=Status.QUEUED)

    def accepted(self, provider: str, at: datetime | None = None) -> None:
        """A provider has it: learnt from its answer, from its events, or by asking it."""
        self._change(lighter_than(Status.SENT), status=Status.SENT, provider=provider, finished_at=None, failure=None)
        self._now().filter(sent_at=None).update(sent_at=at or Now(), provider=provider)

    def learn(self, status: Status, failure: Failure | None = None) -> bool:
        """What a provider says has become of it; False when something weightier is known already."""
        finished_at = Now() if status in TERMINAL else None
        shown = failure and failure.as_json()
        return self._change(lighter_than(status), status=status, finished_at=finished_at, failure=shown)

    def end(self, status: Status, failure: Failure | None = None) -> bool:
        """Our own decision that it will not be sent, or not again; False when it has left our hands."""
        return self._change(PENDING, status=status, finished_at=Now(), failure=failure and failure.as_json())

    def cancel(self) -> None:
        """Not wanted any more. Raises AlreadySent."""
        waiting = {Status.SCHEDULED, Status.QUEUED}
        if not self._change(waiting, status=Status.CANCELLED, finished_at=Now()) and self.status != Status.CANCELLED:
            raise AlreadySent(self.pk, self.status)

    def opened(self) -> None:
        self._now().update(opens=F("opens") + 1)

    def clicked(self) -> None:
        self._now().update(clicks=F("clicks") + 1)

    def note(self, kind: str, detail: str = "", provider: str = "") -> None:
        """Say something in the timeline that no attempt and no provider's event says."""
        Event.objects.create(message=self, source=Event.Source.OURS, type=kind, detail=detail, provider=provider)

    def _now(self) -> MessageQuerySet:
        return Message.objects.filter(pk=self.pk)

    def _change(self, before: "set[Status] | frozenset[Status]", **changes: Any) -> bool:
        """The one way to another status: from one of these, and counted. Then this object is as the row is."""
        changed = bool(self._now().filter(status__in=before).update(**changes))
        self.refresh_from_db(fields=["status", "finished_at", "failure", "sent_at", "provider"])
        if changed:
            log.info("message_changed", message_id=str(self.pk), status=self.status)
        return changed


class Attachment(models.Model):
    """A file that goes with a message."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="attachments")
    filename = models.CharField(max_length=255)
    content_type = models.CharField(max_length=255)
    content = models.BinaryField()

    def __str__(self) -> str:
        return self.filename


class Attempt(models.Model):
    """One call of one provider. Its id goes with the mail as metadata, so that events can be matched to it.

    outcome: empty while the call is under way, and for ever if the process died in it.
    """

    class Outcome(models.TextChoices):
        ACCEPTED = "accepted"  # the provider has the message
        TRANSIENT = "transient"  # it has not; worth another try
        PERMANENT = "permanent"  # it has not; another try by the same provider would end the same
        AMBIGUOUS = "ambiguous"  # nobody knows: the provider has to be asked

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    message = models.ForeignKey(Message, models.CASCADE, related_name="attempts")
    provider = models.CharField(max_length=50)
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

    def conclude(self, outcome: str, failure: Failure | None = None, provider_message_id: str = "") -> bool:
        """Record what came of the call; an ambiguous one may be settled later, and nothing else is changed twice."""
        open_ones = Attempt.objects.filter(pk=self.pk, outcome__in=["", Attempt.Outcome.AMBIGUOUS])
        settled = open_ones.update(
            outcome=outcome,
            finished_at=Now(),
            failure_class=failure.kind if failure else "",
            detail=failure.detail if failure else "",
            provider_message_id=provider_message_id or F("provider_message_id"),
        )
        self.refresh_from_db()
        return bool(settled)


class Event(models.Model):
    """Something that was said about a message, by a provider or by us. Never changed once it is believed; never deleted
    before its message.

    key: what makes a provider's event the same one when it comes again. disregarded: why it was not believed.
    """

    class Source(models.TextChoices):
        WEBHOOK = "webhook"  # a provider told us
        LOOKUP = "lookup"  # we asked the provider
        OURS = "legwork"  # our own decision

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    message = models.ForeignKey(Message, models.CASCADE, null=True, blank=True, related_name="events")
    attempt = models.ForeignKey(Attempt, models.SET_NULL, null=True, blank=True, related_name="events")
    source = models.CharField(max_length=10, choices=Source.choices)
    provider = models.CharField(max_length=50, default="", blank=True)
    type = models.CharField(max_length=50)
    at = models.DateTimeField(default=timezone.now, help_text="When it happened, as the provider says.")
    received_at = models.DateTimeField(default=timezone.now)
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
                condition=Q(applied_at__isnull=True) & ~Q(source="legwork"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"


class WebhookToken(models.Model):
    """A webhook's token that has been used: the same notification is taken once (Mailgun, "Securing webhooks")."""

    token = models.CharField(primary_key=True, max_length=100)
    used_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.token


class Suppression(models.Model):
    """An address that is not written to. When its person was forgotten, only the digest of the address is left."""

    class Scope(models.TextChoices):
        ALL = "all"  # nothing at all is sent
        BULK = "bulk"  # bulk mail is not sent

    class Reason(models.TextChoices):
        BOUNCE = "bounce"
        MAILBOX_FULL = "mailbox_full"
        SOFT_BOUNCES = "soft_bounces"
        COMPLAINT = "complaint"
        UNSUBSCRIBE = "unsubscribe"
        MANUAL = "manual"

    digest = models.CharField(primary_key=True, max_length=64, editable=False)
    address = models.CharField(max_length=320, default="", blank=True, db_index=True)
    reason = models.CharField(max_length=20, choices=Reason.choices)
    scope = models.CharField(max_length=5, choices=Scope.choices, default=Scope.ALL)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is lifted by hand.")
    source = models.CharField(max_length=50, help_text="A provider's name, a user's, or one-click.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = SuppressionQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return addresses.masked(self.address) if self.address else self.digest[:12]


class Strike(models.Model):
    """A failure of an address that suppresses it only when it is repeated: an exhausted delivery, a full mailbox."""

    digest = models.CharField(max_length=64)
    kind = models.CharField(max_length=20, choices=FailureClass.choices)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        indexes = (models.Index("digest", "at", name="strikes_of_address"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:12]}"


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


class Broadcast(models.Model):
    """One template to many addresses: what the job mail.broadcast works off, and how far it has come.

    recipients: [{"to", "context"}]. The template is kept as it was when the broadcast was accepted.
    next_row: where it goes on after a crash. refused: [{"row", "errors"}], rows counted from 1.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="broadcasts")
    subject = models.CharField(max_length=998)
    text = models.TextField(default="", blank=True)
    html = models.TextField(default="", blank=True)
    importance = models.CharField(max_length=10, choices=Importance.choices, default=Importance.BULK)
    recipients = models.JSONField(encoder=DjangoJSONEncoder)
    next_row = models.PositiveIntegerField(default=0)
    accepted = models.PositiveIntegerField(default=0)
    refused = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.subject} {self.pk}"


class Provider(models.Model):
    """How a provider has been doing lately, as all workers see it: the circuit breaker and the pause it asked for."""

    name = models.CharField(primary_key=True, max_length=50)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    opened_at = models.DateTimeField(null=True, blank=True, help_text="Since when the breaker is open.")
    open_until = models.DateTimeField(null=True, blank=True, help_text="When one message may try it again.")
    paused_until = models.DateTimeField(null=True, blank=True, help_text="It asked for a pause (429).")
    reason = models.CharField(max_length=500, default="", blank=True)

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """Something an operator should know, counted here and told in the log."""

    kind = models.CharField(max_length=50)
    detail = models.TextField(default="", blank=True)
    provider = models.CharField(max_length=50, default="", blank=True)
    message = models.ForeignKey(Message, models.SET_NULL, null=True, blank=True, related_name="alerts")
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.kind} {self.detail}"
