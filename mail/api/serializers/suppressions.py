"""Suppressions as they come in and go out."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from mail.api.fields import MailboxField
from mail.models import Suppression
from mail.reasons import Reason, Scope
from mail.suppressions.files import COLUMNS
from rest.strict import StrictSerializer


class SuppressionRequest(StrictSerializer):
    """The body of POST mail/suppressions/."""

    address = MailboxField()
    reason = serializers.ChoiceField(Reason.choices, default=Reason.MANUAL)
    scope = serializers.ChoiceField(Scope.choices, default=Scope.ALL)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value and value <= timezone.now():
            raise serializers.ValidationError("This lies in the past.", "past")
        return value


class SuppressionExport(StrictSerializer):
    """The query of GET mail/suppressions/export/. list: of Mailgun's, in its format; all in our own without it."""

    list = serializers.ChoiceField(tuple(COLUMNS), required=False)


class SuppressionUpload(StrictSerializer):
    """The body of POST mail/suppressions/import/ as a form.

    file: CSV with a column `address`. list: which of Mailgun's lists it is, where its columns do not tell.
    """

    file = serializers.FileField()
    list = serializers.ChoiceField(tuple(COLUMNS), required=False)


class SuppressionImported(serializers.Serializer[Any]):
    """What came of an import. refused: the first bad rows; 1 is the first after the names of the columns."""

    imported = serializers.IntegerField()
    known = serializers.IntegerField(help_text="Suppressed for the same reason before.")
    refused = serializers.ListField(child=serializers.DictField())
    refusals = serializers.IntegerField(help_text="All bad rows.")


class SuppressionResponse(serializers.Serializer[Any]):
    """An address that is not written to."""

    address = serializers.CharField()
    url = serializers.URLField()
    reason = serializers.ChoiceField(Reason.choices)
    scope = serializers.ChoiceField(Scope.choices)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="null: until it is lifted.")
    source = serializers.CharField()  # type: ignore[assignment]
    created_at = serializers.DateTimeField()


def suppression_representation(suppression: Suppression, address: str, request: Request) -> dict[str, Any]:
    """A suppression as it is shown: SuppressionResponse. address: of a forgotten person, only who asks knows it."""
    return {
        "address": address,
        "url": suppression_url(address, request),
        "reason": suppression.reason,
        "scope": suppression.scope,
        "expires_at": suppression.expires_at,
        "source": suppression.source,
        "created_at": suppression.created_at,
    }


def suppression_url(address: str, request: Request) -> str:
    return request.build_absolute_uri(reverse("suppressions")) + quote(address, safe="@") + "/"
