"""The operator's look at mail: each message with all that is known of it, whom not to write to, and what went wrong."""

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from mail.addresses.parsing import BadAddress, parse_mailbox
from mail.api.timeline import timeline
from mail.errors import AlreadySent, NotStopped
from mail.models import (
    Alert,
    Broadcast,
    Event,
    Message,
    Provider,
    RateBucket,
    Stream,
    StreamSuppression,
    Suppression,
    Template,
)
from mail.models.queryset import MessageQuerySet
from mail.policy import guard
from mail.sending import holds, pacing
from mail.submit import cancel_message
from mail.suppressions.lifting import lift_exactly

SHUT = (
    '<meta http-equiv="Content-Security-Policy"'
    " content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)
"""Put before a message's HTML: in its frame nothing runs, and nothing is loaded from anywhere."""


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's is not generic at run time
    """Rows that are looked at; they are made and changed elsewhere."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """In the list, for its actions; a single row is shown and not edited."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Message)
class MessageAdmin(ReadOnly):
    """Messages are looked at and cancelled here; they are made by the API."""

    list_display = (
        "id",
        "to",
        "subject",
        "status",
        "importance",
        "stream",
        "provider",
        "user",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", "importance", "provider", "created_at")
    list_select_related = ("user",)
    search_fields = ("=id", "=address", "user__username", "=request_id", "=attempts__provider_message_id")
    search_help_text = "id, address, user, request id or a provider's message id"
    actions = ("cancel",)
    fields = (
        ("id", "status", "importance", "stream"),
        ("to", "sender", "shown_reply_to"),
        "subject",
        ("user", "provider", "possible_duplicate", "opens", "clicks"),
        ("created_at", "send_at", "expires_at", "sent_at", "finished_at", "erased_at"),
        "shown_failure",
        "shown_timeline",
        "shown_attempts",
        "shown_events",
        "text_body",
        "html_body",
        "files",
        ("shown_headers", "shown_tags", "shown_metadata"),
        ("resend_of", "broadcast", "row", "job_id", "request_id"),
    )
    readonly_fields = tuple(name for line in fields for name in (line if isinstance(line, tuple) else (line,)))

    @admin.display(description="failure")
    def shown_failure(self, message: Message) -> str:
        return f"{message.failure['class']}: {message.failure['detail']}" if message.failure else ""

    @admin.display(description="timeline")
    def shown_timeline(self, message: Message) -> SafeString:
        entries = timeline(message.pk, message.created_at)
        return _table(
            (e["at"].isoformat(" ", "milliseconds"), e["type"], e["provider"] or "", e["detail"]) for e in entries
        )

    @admin.display(description="attempts")
    def shown_attempts(self, message: Message) -> SafeString:
        return _table(
            (attempt.pk, attempt.provider, attempt.outcome or "under way", attempt.provider_message_id, attempt.detail)
            for attempt in message.attempts.all()
        )

    @admin.display(description="events as they came")
    def shown_events(self, message: Message) -> SafeString:
        return format_html_join("", "{}", ((_shown_event(event),) for event in message.events.exclude(raw=None)))

    @admin.display(description="text")
    def text_body(self, message: Message) -> SafeString:
        return _preformatted(message.text)

    @admin.display(description="HTML")
    def html_body(self, message: Message) -> SafeString | str:
        if not message.html:
            return ""
        style = "width: 100%; height: 30em; border: 1px solid #ccc; background: #fff"
        frame = '<iframe sandbox referrerpolicy="no-referrer" style="{}" srcdoc="{}"></iframe>'
        return format_html(frame, style, SHUT + message.html)

    @admin.display(description="attachments")
    def files(self, message: Message) -> SafeString:
        return _table(message.attachments.values_list("filename", "content_type"))

    @admin.display(description="reply to")
    def shown_reply_to(self, message: Message) -> str:
        return ", ".join(message.reply_to)

    @admin.display(description="headers")
    def shown_headers(self, message: Message) -> SafeString:
        return _table(message.headers.items())

    @admin.display(description="tags")
    def shown_tags(self, message: Message) -> str:
        return ", ".join(message.tags)

    @admin.display(description="metadata")
    def shown_metadata(self, message: Message) -> SafeString:
        return _table(message.metadata.items())

    @admin.action(description="Cancel", permissions=["change"])
    def cancel(self, request: HttpRequest, chosen: MessageQuerySet) -> None:
        cancelled = 0
        for message in chosen:
            try:
                cancel_message(message)
                cancelled += 1
            except AlreadySent as error:
                self.message_user(request, str(error), messages.WARNING)
        self.message_user(request, f"{cancelled} cancelled.")


class SuppressionForm(forms.ModelForm):  # type: ignore[type-arg]
    """An address to suppress, known in every spelling."""

    class Meta:
        model = Suppression
        fields = ("address", "reason", "scope", "expires_at")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "address" in self.fields:
            self.fields["address"].required = True

    def clean_address(self) -> str:
        try:
            return parse_mailbox(self.cleaned_data["address"]).address
        except BadAddress as error:
            raise forms.ValidationError(str(error)) from None


@admin.register(Suppression)
class SuppressionAdmin(ReadOnly):
    """An address is suppressed by adding it here, and written to again once its rows, one a reason, are deleted here.

    What is deleted here is lifted at the providers, too.
    """

    form = SuppressionForm
    list_display = ("shown_address", "reason", "scope", "expires_at", "source", "created_at")
    list_filter = ("reason", "scope", "source", "created_at")
    search_fields = ("address",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("mail.add_suppression")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_suppression")

    @admin.display(description="address", ordering="address")
    def shown_address(self, suppression: Suppression) -> str:
        return suppression.address or f"(forgotten: {suppression.digest[:12]})"

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: bool) -> None:
        """Of two suppressions of one address, scope and reason the one that lasts longer stays."""
        source = request.user.get_username()[:50]
        kept = Suppression.objects.suppress(obj.address, obj.reason, obj.scope, obj.expires_at, source=source)
        obj.pk = kept.pk

    def delete_model(self, request: HttpRequest, obj: Suppression) -> None:
        lift_exactly([obj])

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        lift_exactly(queryset)


class Resumable(ReadOnly):
    """What the guard may have stopped, and an operator resumes."""

    actions = ("resume",)

    @admin.action(description="Resume what was stopped", permissions=["change"])
    def resume(self, request: HttpRequest, chosen: Any) -> None:
        resumed = 0
        for each in chosen:
            try:
                guard.resume(each)
                resumed += 1
            except NotStopped as error:
                self.message_user(request, str(error), messages.WARNING)
        self.message_user(request, f"{resumed} resumed.")


@admin.register(Stream)
class StreamAdmin(Resumable):
    list_display = ("name", "user", "created_at", "stopped_at", "stop_reason")
    list_select_related = ("user",)
    list_filter = ("stopped_at",)
    search_fields = ("=name", "user__username")
    fields = readonly_fields = (*list_display, "watched_from")


@admin.register(StreamSuppression)
class StreamSuppressionAdmin(ReadOnly):
    """Who wants no mail of a stream."""

    list_display = ("stream", "user", "shown_address", "source", "created_at")
    list_select_related = ("user",)
    list_filter = ("source", "created_at")
    search_fields = ("address", "=stream", "user__username")
    fields = readonly_fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_streamsuppression")

    @admin.display(description="address", ordering="address")
    def shown_address(self, suppression: StreamSuppression) -> str:
        return suppression.address or f"(forgotten: {suppression.digest[:12]})"


@admin.register(Alert)
class AlertAdmin(ReadOnly):
    list_display = ("at", "kind", "provider", "detail", "message", "told_at")
    list_filter = ("kind", "provider", "at")
    fields = readonly_fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_alert")


class Believed(admin.SimpleListFilter):
    """Events that were not believed have a reason for that, and no message."""

    title = "believed"
    parameter_name = "believed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "yes":
                return queryset.filter(disregarded="")
            case "no":
                return queryset.exclude(disregarded="")
        return queryset


@admin.register(Event)
class EventAdmin(ReadOnly):
    """What providers told, as it came; what was not believed is here and nowhere else."""

    list_display = ("received_at", "type", "provider", "source", "detail", "disregarded", "message")
    list_filter = (Believed, "type", "provider", "source", "received_at")
    fields = readonly_fields = (
        *list_display[:-1],
        "message",
        "attempt",
        "at",
        "failure_class",
        "applied_at",
        "shown_raw",
    )

    @admin.display(description="as it came")
    def shown_raw(self, event: Event) -> SafeString:
        return _shown_event(event)


@admin.register(Provider)
class ProviderAdmin(ReadOnly):
    """How providers are doing; deleting one forgets its failures and its pause, so that what waits is tried at once."""

    list_display = ("name", "failures", "opened_at", "open_until", "paused_until", "reason")
    fields = readonly_fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_provider")

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        super().delete_model(request, obj)
        holds.end()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        super().delete_queryset(request, queryset)
        holds.end()


@admin.register(RateBucket)
class RateBucketAdmin(ReadOnly):
    """How much mail providers and receivers have got lately; `manage.py mail_rates` shows the rates besides."""

    list_display = ("name", "rate", "taken_until", "planned_until")
    fields = readonly_fields = list_display

    @admin.display
    def rate(self, bucket: RateBucket) -> str:
        return str(pacing.rate_of(bucket.name) or "unlimited")


@admin.register(Template)
class TemplateAdmin(ReadOnly):
    list_display = ("name", "user", "subject", "updated_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    fields = readonly_fields = ("name", "user", "subject", "shown_text", "shown_html", "created_at", "updated_at")

    @admin.display(description="text")
    def shown_text(self, template: Template) -> SafeString:
        return _preformatted(template.text)

    @admin.display(description="HTML")
    def shown_html(self, template: Template) -> SafeString:
        return _preformatted(template.html)


@admin.register(Broadcast)
class BroadcastAdmin(Resumable):
    list_display = (
        "id",
        "subject",
        "user",
        "importance",
        "next_row",
        "accepted",
        "refusals",
        "created_at",
        "finished_at",
        "cancelled_at",
        "stopped_at",
    )
    list_select_related = ("user",)
    list_filter = ("importance", "created_at")
    fields = readonly_fields = (
        *list_display,
        *("stop_reason", "watched_from", "sender", "stream", "send_at", "expires_at", "released_at", "suppressed"),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """A list of recipients is long, and not looked at here."""
        return super().get_queryset(request).defer("recipients", "refused")


def _shown_event(event: Event) -> SafeString:
    summary = f"{event.at.isoformat(' ', 'milliseconds')} {event.type} ({event.source})"
    raw = _preformatted(json.dumps(event.raw, indent=2, ensure_ascii=False))
    return format_html("<details><summary>{}</summary>{}</details>", summary, raw)


def _table(rows: Any) -> SafeString:
    cells = (format_html_join("", "<td>{}</td>", ((cell,) for cell in row)) for row in rows)
    return format_html("<table>{}</table>", format_html_join("", "<tr>{}</tr>", ((line,) for line in cells)))


def _preformatted(text: str) -> SafeString:
    return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', text)
