"""The admin page of tokens: shows who has which devices, and can log them out."""

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from project.models import Token


@admin.register(Token)
class TokenAdmin(ModelAdmin):  # type: ignore[misc]
    """Shows neither digest nor key. Tokens are created only by logging in."""

    list_display = ("name_or_unnamed", "user", "scope", "created", "last_used_on", "expiry")
    list_filter = ("scope",)
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    date_hierarchy = "created"
    fields = readonly_fields = ("id", "name", "user", "scope", "created", "last_used_on", "expiry")

    @admin.display(description="device", ordering="name")
    def name_or_unnamed(self, token: Token) -> str:
        return str(token)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return False
