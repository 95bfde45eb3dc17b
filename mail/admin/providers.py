"""The state of providers: breakers, sending rates, alerts."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mail.admin.read_only import ReadOnlyAdmin
from mail.models import Alert, Provider, RateBucket, RefusedSender
from mail.providers import breakers
from mail.providers.accounts import accounts
from mail.sending import holds, pacing


@admin.register(Provider)
class ProviderAdmin(ReadOnlyAdmin):
    """Deleting a provider forgets its failures and its pause: waiting mail is tried at once."""

    list_display = ("name", "state", "failures", "opened_at", "open_until", "paused_until", "reason")
    fields = readonly_fields = list_display
    list_before_template = "mail/provider_switch.html"

    @admin.display
    def state(self, provider: Provider) -> SafeString:
        word = "open" if provider.opened_at else "paused" if provider.is_paused else "ok"
        return format_html('<span class="lw-badge lw-{}">{}</span>', word, word)

    def get_urls(self) -> list[URLPattern]:
        switch = path("switch/", self.admin_site.admin_view(self.switch), name="mail_provider_switch")
        return [switch, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        configured = [account.name for account in accounts()]
        extra = {"configured": configured, "may_switch": self.has_change_permission(request)}
        response: HttpResponse = super().changelist_view(request, {**(extra_context or {}), **extra})
        return response

    def switch(self, request: HttpRequest) -> HttpResponse:
        """Open or close a breaker by hand."""
        if request.method != "POST" or not self.has_change_permission(request):
            raise PermissionDenied
        name, reason = request.POST.get("name", ""), request.POST.get("reason", "").strip()[:200]
        if name not in [account.name for account in accounts()]:
            messages.error(request, "There is no such provider.")
        elif request.POST.get("to") == "open":
            breakers.open_by_hand(name, f"{request.user.get_username()}: {reason or 'no reason given'}")
            self._note(request, name, f"Opened the breaker: {reason}")
        else:
            breakers.record_success(name)
            holds.release()
            self._note(request, name, "Closed the breaker")
        return HttpResponseRedirect(reverse("admin:mail_provider_changelist"))

    def _note(self, request: HttpRequest, name: str, what: str) -> None:
        if provider := Provider.objects.filter(name=name).first():
            self.log_change(request, provider, what)
        messages.success(request, f"{name}: {what}.")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_provider")

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        super().delete_model(request, obj)
        holds.release()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        super().delete_queryset(request, queryset)
        holds.release()


@admin.register(RefusedSender)
class RefusedSenderAdmin(ReadOnlyAdmin):
    """Senders whose mail a provider refuses. Deleting one tries its waiting mail at once."""

    list_display = ("provider", "sender", "times", "refused_at", "until", "reason")
    fields = readonly_fields = list_display
    list_filter = ("provider",)
    search_fields = ("sender",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_refusedsender")

    def delete_model(self, request: HttpRequest, obj: RefusedSender) -> None:
        super().delete_model(request, obj)
        holds.release()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        super().delete_queryset(request, queryset)
        holds.release()


@admin.register(RateBucket)
class RateBucketAdmin(ReadOnlyAdmin):
    """The rate limiter's buckets of providers and receivers. `manage.py mail_rates` shows the warm-up too."""

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
