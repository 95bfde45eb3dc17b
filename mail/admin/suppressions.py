"""Suppressed addresses, of all mail and of streams."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from mail.addresses.parsing import BadAddress, parse_mailbox
from mail.admin.read_only import ReadOnlyAdmin
from mail.models import StreamSuppression, Suppression
from mail.suppressions.lifting import lift_all


class SuppressionForm(forms.ModelForm):  # type: ignore[type-arg]
    """Normalizes the address, so that it is found in every spelling."""

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


class AddressAdmin(ReadOnlyAdmin):
    """Shows the digest in the place of a forgotten address."""

    @admin.display(description="address", ordering="address")
    def shown_address(self, suppression: Suppression | StreamSuppression) -> str:
        return suppression.address or f"(forgotten: {suppression.digest[:12]})"


@admin.register(Suppression)
class SuppressionAdmin(AddressAdmin):
    """Adding a row suppresses an address; deleting all its rows, one per reason, lifts it, at the providers too."""

    form = SuppressionForm
    list_display = ("shown_address", "reason", "scope", "expires_at", "source", "created_at")
    list_filter = ("reason", "scope", "source", "created_at")
    search_fields = ("address",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("mail.add_suppression")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_suppression")

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: bool) -> None:
        """If the same address, scope and reason is suppressed already, the one that lasts longer stays."""
        source = request.user.get_username()[:50]
        kept = Suppression.objects.suppress(obj.address, obj.reason, obj.scope, obj.expires_at, source=source)
        obj.pk = kept.pk

    def delete_model(self, request: HttpRequest, obj: Suppression) -> None:
        lift_all([obj])

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        lift_all(queryset)


@admin.register(StreamSuppression)
class StreamSuppressionAdmin(AddressAdmin):
    """Addresses that are suppressed for one stream of a user."""

    list_display = ("stream", "user", "shown_address", "source", "created_at")
    list_select_related = ("user",)
    list_filter = ("source", "created_at")
    search_fields = ("address", "=stream", "user__username")
    fields = readonly_fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_streamsuppression")
