"""The state of providers: breakers, sending rates, alerts."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from mail.admin.read_only import ReadOnlyAdmin
from mail.models import Alert, Provider, RateBucket
from mail.sending import holds, pacing


@admin.register(Provider)
class ProviderAdmin(ReadOnlyAdmin):
    """Deleting a provider forgets its failures and its pause: waiting mail is tried at once."""

    list_display = ("name", "failures", "opened_at", "open_until", "paused_until", "reason")
    fields = readonly_fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_provider")

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        super().delete_model(request, obj)
        holds.release()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        super().delete_queryset(request, queryset)
        holds.release()


@admin.register(RateBucket)
class RateBucketAdmin(ReadOnlyAdmin):
    """Recent mail to providers and receivers. `manage.py mail_rates` shows the warm-up too."""

    list_display = ("name", "rate", "taken_until", "planned_until")
    fields = readonly_fields = list_display

    @admin.display
    def rate(self, bucket: RateBucket) -> str:
        return str(pacing.rate_of(bucket.name) or "unlimited")


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("at", "kind", "provider", "detail", "message", "told_at")
    list_filter = ("kind", "provider", "at")
    fields = readonly_fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_alert")
