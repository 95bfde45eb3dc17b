"""Serializers of streams and their suppressions, for requests and answers."""

from typing import Any
from urllib.parse import quote

from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request

from mail.api.fields import MailboxField
from mail.api.stream_figures import DAYS, stream_figures
from mail.models import Stream, StreamSuppression
from mail.policy.guard import STREAM_DAYS, rates_of_stream
from rest.openapi.parts import ORIGIN, example
from rest.requests.strict import StrictSerializer


@example(
    name="news",
    url=f"{ORIGIN}/api/v1/mail/streams/news/",
    suppressions=f"{ORIGIN}/api/v1/mail/streams/news/suppressions/",
)
class StreamSummary(serializers.Serializer[Any]):
    """A stream in a list."""

    name = serializers.CharField()
    url = serializers.URLField()
    suppressions = serializers.URLField()
    created_at = serializers.DateTimeField()


@example(bounce_rate=0.4, complaint_rate=0.01, figures={"delivered": 996, "bounced": 4})
class StreamResponse(StreamSummary):
    """A stream by itself."""

    stopped_at = serializers.DateTimeField(allow_null=True, help_text="When the guard stopped its mail.")
    stop_reason = serializers.CharField(allow_null=True)
    bounce_rate = serializers.FloatField(
        min_value=0,
        allow_null=True,
        help_text=f"Percent of the mail of the last {STREAM_DAYS} days whose outcome is known.",
    )
    complaint_rate = serializers.FloatField(
        min_value=0,
        allow_null=True,
        help_text=f"Percent of the mail of the last {STREAM_DAYS} days that was delivered.",
    )
    figures = serializers.DictField(
        child=serializers.IntegerField(min_value=0),
        help_text=f"Messages of the last {DAYS} days by status; statuses without any are left out.",
    )


@example(address="ada@example.org")
class StreamSuppressionRequest(StrictSerializer):
    """The body of POST mail/streams/{name}/suppressions/."""

    address = MailboxField()


@example(
    address="ada@example.org",
    url=f"{ORIGIN}/api/v1/mail/streams/news/suppressions/ada@example.org/",
    stream="news",
    source="one-click",
)
class StreamSuppressionResponse(serializers.Serializer[Any]):
    """An address suppressed for the stream."""

    address = serializers.CharField()
    url = serializers.URLField()
    stream = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    created_at = serializers.DateTimeField()


def stream_summary(stream: Stream, request: Request) -> dict[str, Any]:
    """StreamSummary as a dict."""
    return {
        "name": stream.name,
        "url": request.build_absolute_uri(reverse("stream", args=[stream.name])),
        "suppressions": _suppressions_url(stream.name, request),
        "created_at": stream.created_at,
    }


def stream_representation(stream: Stream, request: Request) -> dict[str, Any]:
    """StreamResponse as a dict."""
    rates = rates_of_stream(stream)
    return stream_summary(stream, request) | {
        "stopped_at": stream.stopped_at,
        "stop_reason": stream.stop_reason or None,
        "bounce_rate": rates.bounces,
        "complaint_rate": rates.complaints,
        "figures": stream_figures(stream),
    }


def stream_suppression_representation(suppression: StreamSuppression, address: str, request: Request) -> dict[str, Any]:
    """StreamSuppressionResponse as a dict. address: as asked for; a forgotten one is not stored."""
    return {
        "address": address,
        "url": stream_suppression_url(suppression.stream, address, request),
        "stream": suppression.stream,
        "source": suppression.source,
        "created_at": suppression.created_at,
    }


def stream_suppression_url(stream: str, address: str, request: Request) -> str:
    return f"{_suppressions_url(stream, request)}{quote(address, safe='@')}/"


def _suppressions_url(stream: str, request: Request) -> str:
    return request.build_absolute_uri(reverse("stream-suppressions", args=[stream]))
