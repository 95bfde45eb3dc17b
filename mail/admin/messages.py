"""Messages with their timeline and attempts, and the events that providers report."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.messages import WARNING
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mail.admin.read_only import ReadOnlyAdmin, preformatted
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
        "to",
        "subject",
        "shown_status",
        "importance",
        "provider",
        "user",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", "importance", "provider", "created_at")
    list_display_links = ("to",)
    list_select_related = ("user",)
    search_fields = ("=id", "=address", "user__username", "=request_id", "=attempts__provider_message_id")
    search_help_text = "id, address, user, request id or a provider's message id"
    actions = ("cancel",)

    @admin.display(description="status", ordering="status")
    def shown_status(self, message: Message) -> SafeString:
        return format_html('<span class="lw-badge lw-{}">{}</span>', message.status, message.status)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A page of its own instead of a form: nothing of a message can be edited."""
        message = self.get_object(request, object_id)
        if message is None:
            raise Http404
        if request.method != "GET" or not self.has_view_permission(request, message):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Message",
            "subtitle": None,
            "message": message,
            "timeline": timeline(message.pk, message.created_at),
            "attempts": message.attempts.all(),
            "events": [(event, _pretty(event.raw)) for event in message.events.exclude(raw=None)],
            "body": self._body(message),
            "attachments": list(message.attachments.values_list("filename", "content_type")),
            "job_url": self._job_url(request, message),
            "may_change": self.has_change_permission(request),
        }
        return TemplateResponse(request, "mail/message_admin.html", context)

    def _body(self, message: Message) -> SafeString | str:
        if not message.html:
            return ""
        frame = '<iframe sandbox referrerpolicy="no-referrer" title="Body" class="lw-frame" srcdoc="{}"></iframe>'
        return format_html(frame, NO_REQUESTS + message.html)

    def _job_url(self, request: HttpRequest, message: Message) -> str:
        if not message.job_id or not request.user.has_perm("jobs.view_job"):
            return ""
        return reverse("admin:jobs_job_change", args=[message.job_id])

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
    """Tells disregarded events, which have a reason in `disregarded` and no message, from the others."""

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
    """All events, our own included. Disregarded ones are shown only here."""

    list_display = ("received_at", "type", "provider", "source", "detail", "disregarded", "message")
    list_filter = (BelievedFilter, "type", "provider", "source", "received_at")
    ordering = ("-id",)
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
    return format_html("<details><summary>{}</summary>{}</details>", summary, preformatted(_pretty(event.raw)))


def _pretty(raw: object) -> str:
    return json.dumps(raw, indent=2, ensure_ascii=False)
