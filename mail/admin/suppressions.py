"""Suppressed addresses, of all mail and of streams."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from mail.addresses.parsing import BadAddress, parse_mailbox
from mail.admin.read_only import ReadOnlyAdmin
from mail.models import StreamSuppression, Suppression
from mail.suppressions.lifting import lift_all

REASON_LENGTH = 200
SHOWN = 20
"""Suppressions that are named on the page which asks for the reason."""


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
    """Adding a row suppresses an address, until all its rows are lifted: each has its own reason and scope."""

    form = SuppressionForm
    list_display = ("shown_address", "reason", "scope", "expires_at", "source", "created_at")
    list_filter = ("reason", "scope", "source", "created_at")
    search_fields = ("address",)
    actions = ("lift",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("mail.add_suppression")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mail.delete_suppression")

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: bool) -> None:
        """If the address is suppressed already for this reason and scope, the longer duration is kept."""
        source = request.user.get_username()[:50]
        kept = Suppression.objects.suppress(obj.address, obj.reason, obj.scope, obj.expires_at, source=source)
        obj.pk = kept.pk

    def get_actions(self, request: HttpRequest) -> Any:
        """Without Django's own deletion, which asks for no reason."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    @admin.action(description="Lift", permissions=["delete"])
    def lift(self, request: HttpRequest, chosen: Any) -> HttpResponse | None:
        names = ("action", "select_across", "index", "_selected_action")
        hidden = [(name, value) for name in names for value in request.POST.getlist(name)]
        return self._lift_or_ask(request, list(chosen), hidden)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Lift this suppression, instead of only deleting its row."""
        suppression = self.get_object(request, object_id)
        if suppression is None:
            raise Http404
        if not self.has_delete_permission(request, suppression):
            raise PermissionDenied
        lifted = self._lift_or_ask(request, [suppression], [])
        return lifted or HttpResponseRedirect(reverse("admin:mail_suppression_changelist"))

    def _lift_or_ask(
        self, request: HttpRequest, chosen: list[Suppression], hidden: list[tuple[str, str]]
    ) -> HttpResponse | None:
        """Lift and log them if a reason was given; otherwise return the page that asks for one."""
        if reason := request.POST.get("reason", "").strip()[:REASON_LENGTH]:
            with transaction.atomic():
                for suppression in chosen:
                    _log_lift(request, suppression, reason)
                lift_all(chosen)
            self.message_user(request, f"{len(chosen)} lifted.")
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Lift suppressions",
            "subtitle": None,
            "count": len(chosen),
            "shown": chosen[:SHOWN],
            "more": max(len(chosen) - SHOWN, 0),
            "hidden": hidden,
        }
        return TemplateResponse(request, "mail/lift_suppressions.html", context)


def _log_lift(request: HttpRequest, suppression: Suppression, reason: str) -> None:
    """The log is kept when the address is forgotten, so it has the masked one."""
    LogEntry.objects.create(
        user=cast(User, request.user),
        content_type=ContentType.objects.get_for_model(Suppression),
        object_id=str(suppression.pk),
        object_repr=f"Lifted {suppression.reason} of {suppression}",
        action_flag=DELETION,
        change_message=reason,
    )


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
