"""Broadcasts, streams and templates."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mail.admin.read_only import ReadOnlyAdmin, ResumableAdmin, html_table, preformatted
from mail.broadcasts.funnel import Step, funnel
from mail.models import Broadcast, Stream, Template


@admin.register(Broadcast)
class BroadcastAdmin(ResumableAdmin):
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
        "shown_funnel",
        *list_display,
        *("stop_reason", "watched_from", "sender", "stream", "send_at", "expires_at", "released_at", "suppressed"),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Without the lists of recipients, which are long and not shown."""
        return super().get_queryset(request).defer("recipients", "refused")

    @admin.display(description="messages")
    def shown_funnel(self, broadcast: Broadcast) -> SafeString:
        return html_table((step.name.replace("_", " "), step.count, _bar(step)) for step in funnel(broadcast))


def _bar(step: Step) -> SafeString:
    return format_html(
        '<progress class="lw-progress" max="100" value="{}" aria-label="{}"></progress> <small>{} %</small>',
        round(step.percent),
        step.name.replace("_", " "),
        f"{step.percent:.1f}",
    )


@admin.register(Stream)
class StreamAdmin(ResumableAdmin):
    list_display = ("name", "user", "created_at", "stopped_at", "stop_reason")
    list_select_related = ("user",)
    list_filter = ("stopped_at",)
    search_fields = ("=name", "user__username")
    fields = readonly_fields = (*list_display, "watched_from")


@admin.register(Template)
class TemplateAdmin(ReadOnlyAdmin):
    list_display = ("name", "user", "subject", "updated_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    fields = readonly_fields = ("name", "user", "subject", "shown_text", "shown_html", "created_at", "updated_at")

    @admin.display(description="text")
    def shown_text(self, template: Template) -> SafeString:
        return preformatted(template.text)

    @admin.display(description="HTML")
    def shown_html(self, template: Template) -> SafeString:
        return preformatted(template.html)
