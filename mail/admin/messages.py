"""Messages and the events of their providers, with all that is known of them."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.messages import WARNING
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from mail.admin.read_only import ReadOnlyAdmin, html_table, preformatted
from mail.api.timeline import timeline
from mail.errors import AlreadySent
from mail.models import Event, Message
from mail.models.queryset import MessageQuerySet
from mail.submit import cancel_message

NO_REQUESTS = (
    '<meta http-equiv="Content-Security-Policy"'
    " content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)
"""Put before a message's HTML: in its frame no script runs and nothing is loaded."""


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    """Messages are created by the API; here they are shown and cancelled."""

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
        return html_table(
            (e["at"].isoformat(" ", "milliseconds"), e["type"], e["provider"] or "", e["detail"]) for e in entries
        )

    @admin.display(description="attempts")
    def shown_attempts(self, message: Message) -> SafeString:
        return html_table(
            (attempt.pk, attempt.provider, attempt.outcome or "running", attempt.provider_message_id, attempt.detail)
            for attempt in message.attempts.all()
        )

    @admin.display(description="raw events")
    def shown_events(self, message: Message) -> SafeString:
        return format_html_join("", "{}", ((_raw_event(event),) for event in message.events.exclude(raw=None)))

    @admin.display(description="text")
    def text_body(self, message: Message) -> SafeString:
        return preformatted(message.text)

    @admin.display(description="HTML")
    def html_body(self, message: Message) -> SafeString | str:
        if not message.html:
            return ""
        style = "width: 100%; height: 30em; border: 1px solid #ccc; background: #fff"
        frame = '<iframe sandbox referrerpolicy="no-referrer" style="{}" srcdoc="{}"></iframe>'
        return format_html(frame, style, NO_REQUESTS + message.html)

    @admin.display(description="attachments")
    def files(self, message: Message) -> SafeString:
        return html_table(message.attachments.values_list("filename", "content_type"))

    @admin.display(description="reply to")
    def shown_reply_to(self, message: Message) -> str:
        return ", ".join(message.reply_to)

    @admin.display(description="headers")
    def shown_headers(self, message: Message) -> SafeString:
        return html_table(message.headers.items())

    @admin.display(description="tags")
    def shown_tags(self, message: Message) -> str:
        return ", ".join(message.tags)

    @admin.display(description="metadata")
    def shown_metadata(self, message: Message) -> SafeString:
        return html_table(message.metadata.items())

    @admin.action(description="Cancel", permissions=["change"])
    def cancel(self, request: HttpRequest, chosen: MessageQuerySet) -> None:
        cancelled = 0
        for message in chosen:
            try:
                cancel_message(message)
                cancelled += 1
            except AlreadySent as error:
                self.message_user(request, str(error), WARNING)
        self.message_user(request, f"{cancelled} cancelled.")


class BelievedFilter(admin.SimpleListFilter):
    """An event that was not believed has a reason in `disregarded`, and no message."""

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
class EventAdmin(ReadOnlyAdmin):
    """Raw events of providers. Those that were not believed are shown only here."""

    list_display = ("received_at", "type", "provider", "source", "detail", "disregarded", "message")
    list_filter = (BelievedFilter, "type", "provider", "source", "received_at")
    fields = readonly_fields = (
        *list_display[:-1],
        "message",
        "attempt",
        "at",
        "failure_class",
        "applied_at",
        "shown_raw",
    )

    @admin.display(description="raw event")
    def shown_raw(self, event: Event) -> SafeString:
        return _raw_event(event)


def _raw_event(event: Event) -> SafeString:
    summary = f"{event.at.isoformat(' ', 'milliseconds')} {event.type} ({event.source})"
    raw = preformatted(json.dumps(event.raw, indent=2, ensure_ascii=False))
    return format_html("<details><summary>{}</summary>{}</details>", summary, raw)
