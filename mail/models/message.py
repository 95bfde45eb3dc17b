"""Messages and their attachments."""

from collections.abc import Mapping
from typing import Any

import structlog
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models.ids import new_id
from mail.errors import AlreadySent, NotSendable
from mail.failure import Failure
from mail.importance import Importance
from mail.models import sql
from mail.models.attempt import Attempt
from mail.models.event import Event
from mail.models.queryset import MessageQuerySet
from mail.models.stream import LONGEST_NAME
from mail.status import CANCELLABLE, PENDING, TERMINAL, UNDER_WAY, Status, outranked_by
from rest.watch.table import new_version

log = structlog.get_logger(__name__)


class Message(models.Model):
    """One e-mail to one recipient, from its POST to the end of its retention.

    subject, text, html: as they are sent; templates are rendered before the message is stored.
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
    stream = models.CharField(max_length=LONGEST_NAME, default="", blank=True)
    track_opens = models.BooleanField(null=True, blank=True, help_text="Empty: as the provider's account says.")
    track_clicks = models.BooleanField(null=True, blank=True, help_text="Empty: as the provider's account says.")
    test_mode = models.BooleanField(default=False, help_text="The provider accepts it and does not deliver it.")
    send_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(help_text="Not sent after this.")
    resend_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="resends")
    broadcast = models.ForeignKey(
        "Broadcast", models.SET_NULL, null=True, blank=True, related_name="messages", db_index=False
    )
    row = models.PositiveIntegerField(null=True, blank=True, help_text="Of the broadcast's recipients; 1 is the first.")
    awaits_release = models.BooleanField(default=False, help_text="It gets its job when the broadcast comes to it.")
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
    version = models.BigIntegerField(default=new_version, editable=False, help_text="Grows with every change.")
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
            models.UniqueConstraint(
                name="one_message_per_address",
                fields=("broadcast", "address"),
                condition=Q(broadcast__isnull=False) & ~Q(address=""),
            ),
        )
        indexes = (
            models.Index("user", F("id").desc(), name="message_of_user"),
            models.Index("address", F("id").desc(), name="message_to_address"),
            models.Index(*("user", "stream", "created_at"), name="message_of_stream", condition=~Q(stream="")),
            models.Index(
                "broadcast", F("id").desc(), name="message_of_broadcast", condition=Q(broadcast__isnull=False)
            ),
            # What mail.broadcasts.release counts and releases.
            models.Index(
                *("broadcast", "awaits_release", "row"),
                name="message_to_release",
                condition=Q(broadcast__isnull=False, status__in=PENDING),
            ),
            # What mail.events.reconciliation reads: unfinished messages, oldest first.
            models.Index("created_at", name="message_unfinished", condition=~Q(status__in=TERMINAL)),
            models.Index("send_at", name="message_scheduled", condition=Q(status=Status.SCHEDULED)),
            # What mail.privacy.retention reads: old messages with a body, and those without one.
            models.Index("created_at", name="message_to_erase", condition=Q(erased_at__isnull=True)),
            models.Index("created_at", name="message_to_delete", condition=Q(erased_at__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.subject} {self.pk}"

    @property
    def finished(self) -> bool:
        return self.status in TERMINAL

    @property
    def pending(self) -> bool:
        return self.status in PENDING

    def set_content(self, parts: Mapping[str, str]) -> None:
        """Set the rendered subject, text and html of a message that is not stored yet."""
        self.subject, self.text, self.html = parts["subject"], parts["text"], parts["html"]

    def begin_attempt(self, provider: str, service: str = "", domain: str = "") -> Attempt:
        """Store an attempt before its provider is called. Raises NotSendable."""
        attempt = self.new_attempt(provider, service, domain)
        if connection.vendor == "postgresql":
            begun = sql.begin_attempt(attempt)
        else:
            with transaction.atomic():
                begun = bool(self._row().pending().filter(awaits_release=False).update(status=Status.SENDING))
                if begun:
                    attempt.save(force_insert=True)
        if not begun:
            raise NotSendable(self.pk)
        self.status = Status.SENDING
        return attempt

    def new_attempt(self, provider: str, service: str = "", domain: str = "") -> Attempt:
        """Not stored yet."""
        return Attempt(message=self, provider=provider, service=service, domain=domain[:255])

    def accept(self, attempt: Attempt, provider_message_id: str) -> None:
        """Record that the provider has accepted it, by this attempt. No effect if that was recorded before."""
        self.status = Message.objects.accept([(attempt, provider_message_id)]).get(self.pk, "")

    def accept_attempt(self, attempt: Attempt, provider_message_id: str) -> None:
        """MessageQuerySet.accept() for one attempt, for any database."""
        with transaction.atomic():
            if attempt.conclude(Attempt.Outcome.ACCEPTED, provider_message_id=provider_message_id):
                self._row().filter(sent_at=None).update(sent_at=Now())
                self._row().update(provider=attempt.provider)
                self._transition(outranked_by(Status.SENT), status=Status.SENT, finished_at=None, failure=None)

    def lock(self) -> None:
        """Lock its row until the end of the transaction. Who changes its attempts, too, locks the message first."""
        self._row().select_for_update(no_key=True).values_list("pk").first()

    def return_to_queue(self) -> None:
        """Queue it for another attempt; also a scheduled message that is due and has to wait."""
        self._transition({Status.SENDING, Status.SCHEDULED}, status=Status.QUEUED)

    def mark_possible_duplicate(self, provider: str) -> None:
        """It was sent again although this provider may have sent it. Noted once."""
        if self._row().filter(possible_duplicate=False).update(possible_duplicate=True):
            self.note("possible_duplicate", "sent again before it was certain that it had not been sent", provider)

    def reopen(self) -> bool:
        """Queue it again after a provider accepted it or even reported its delivery. False in any other status."""
        return self._transition(UNDER_WAY | {Status.DELIVERED}, status=Status.QUEUED, finished_at=None)

    def advance_to(self, status: Status, failure: Failure | None = None) -> bool:
        """Set this status; False if the present one has the same or a higher precedence."""
        finished_at = Now() if status in TERMINAL else None
        shown = failure and failure.as_json()
        return self._transition(outranked_by(status), status=status, finished_at=finished_at, failure=shown)

    def cancel(self) -> None:
        """Raises AlreadySent if a provider has it, is being called, or it has ended otherwise."""
        cancelled = self._transition(CANCELLABLE, status=Status.CANCELLED, finished_at=Now())
        if not cancelled and self.status != Status.CANCELLED:
            raise AlreadySent(self.pk, self.status)

    def count_open(self) -> None:
        self._row().update(opens=F("opens") + 1)

    def count_click(self) -> None:
        self._row().update(clicks=F("clicks") + 1)

    def note(self, kind: str, detail: str = "", provider: str = "") -> None:
        """Add an event of our own to the timeline."""
        Event.objects.create(message=self, source=Event.Source.OURS, type=kind, detail=detail, provider=provider)

    def _row(self) -> MessageQuerySet:
        return Message.objects.filter(pk=self.pk)

    def _transition(self, before: "set[Status] | frozenset[Status]", **changes: Any) -> bool:
        """Change the status by a conditional UPDATE, if it is one of `before`; then refresh this object."""
        changed = bool(self._row().filter(status__in=before).update(**changes))
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
    content_id = models.CharField(max_length=100, default="", blank=True, help_text="Of an inline image.")

    def __str__(self) -> str:
        return self.filename
