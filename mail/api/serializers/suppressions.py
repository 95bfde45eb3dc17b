"""Serializers of suppressions, for requests and answers."""

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
from rest.openapi.parts import ORIGIN, example
from rest.requests.fields import ChoiceField, TimeField
from rest.requests.strict import StrictSerializer


@example(address="ada@example.org", reason="manual")
class SuppressionRequest(StrictSerializer):
    """The body of POST mail/suppressions/."""

    address = MailboxField()
    reason = ChoiceField(Reason.choices, default=Reason.MANUAL)
    scope = ChoiceField(Scope.choices, default=Scope.ALL)
    expires_at = TimeField(required=False, allow_null=True)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value and value <= timezone.now():
            raise serializers.ValidationError("This is in the past.", "past")
        return value


class SuppressionExport(StrictSerializer):
    """The query of GET mail/suppressions/export/.

    list: export one of Mailgun's lists, in Mailgun's format. Without it all suppressions are exported, in our own.
    """

    list = ChoiceField(tuple(COLUMNS), required=False)


class SuppressionUpload(StrictSerializer):
    """The body of POST mail/suppressions/import/ as a form.

    file: CSV with a column `address`. list: one of Mailgun's, needed if the columns do not tell which it is.
    """

    file = serializers.FileField()
    list = ChoiceField(tuple(COLUMNS), required=False)


@example(
    imported=120,
    known=3,
    refused=[{"row": 7, "errors": [{"field": "address", "code": "invalid", "detail": "…"}]}],
    refusals=1,
)
class SuppressionImported(serializers.Serializer[Any]):
    """The result of an import. refused: the first bad rows; row 1 is the one after the header."""

    imported = serializers.IntegerField()
    known = serializers.IntegerField(help_text="Already suppressed for the same reason.")
    refused = serializers.ListField(child=serializers.DictField())
    refusals = serializers.IntegerField(help_text="How many rows are bad.")


@example(
    address="bounce@example.org",
    url=f"{ORIGIN}/api/v1/mail/suppressions/bounce@example.org/",
    reason="bounce",
    scope="all",
    source="mailgun",
)
class SuppressionResponse(serializers.Serializer[Any]):
    """A suppressed address."""

    address = serializers.CharField()
    url = serializers.URLField()
    reason = serializers.ChoiceField(Reason.choices)
    scope = serializers.ChoiceField(Scope.choices)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="null: never.")
    source = serializers.CharField()  # type: ignore[assignment]
    created_at = serializers.DateTimeField()


def suppression_representation(suppression: Suppression, address: str, request: Request) -> dict[str, Any]:
    """SuppressionResponse as a dict. address: as asked for; a forgotten one is not stored."""
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
