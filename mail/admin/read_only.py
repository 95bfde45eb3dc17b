"""The bases of mail's admin pages, and the HTML that several show."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from mail.errors import NotStopped
from mail.policy.guard import resume


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Rows are shown, not added, edited or deleted."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For the actions of the list. A single row is only shown."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ResumableAdmin(ReadOnlyAdmin):
    """Broadcasts and streams, which the guard may stop and an operator may resume."""

    actions = ("resume",)

    @admin.action(description="Resume what was stopped", permissions=["change"])
    def resume(self, request: HttpRequest, chosen: Any) -> None:
        resumed = 0
        for each in chosen:
            try:
                resume(each)
                resumed += 1
            except NotStopped as error:
                self.message_user(request, str(error), messages.WARNING)
        self.message_user(request, f"{resumed} resumed.")


def html_table(rows: Iterable[Iterable[object]]) -> SafeString:
    cells = (format_html_join("", "<td>{}</td>", ((cell,) for cell in row)) for row in rows)
    return format_html(
        '<table class="lw-table">{}</table>', format_html_join("", "<tr>{}</tr>", ((line,) for line in cells))
    )


def preformatted(text: str) -> SafeString:
    return format_html('<pre class="lw-pre" tabindex="0">{}</pre>', text)
