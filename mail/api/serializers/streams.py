"""Streams and their suppressions as they come in and go out."""

from typing import Any
from urllib.parse import quote

from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request

from mail.api.fields import MailboxField
from mail.api.stream_figures import DAYS, figures_of
from mail.models import Stream, StreamSuppression
from mail.policy.guard import STREAM_DAYS, rates_of_stream
from rest.strict import StrictSerializer


class StreamSummary(serializers.Serializer[Any]):
    """A stream as its owner sees it in a list."""

    name = serializers.CharField()
    url = serializers.URLField()
    suppressions = serializers.URLField()
    created_at = serializers.DateTimeField()


class StreamResponse(StreamSummary):
    """A stream as its owner sees it."""

    stopped_at = serializers.DateTimeField(allow_null=True, help_text="Since when the guard keeps its mail back.")
    stop_reason = serializers.CharField(allow_null=True)
    bounce_rate = serializers.FloatField(
        min_value=0, allow_null=True, help_text=f"Percent of the last {STREAM_DAYS} days' mail whose fate is known."
    )
    complaint_rate = serializers.FloatField(
        min_value=0, allow_null=True, help_text=f"Percent of the last {STREAM_DAYS} days' mail that was delivered."
    )

    figures = serializers.DictField(
        child=serializers.IntegerField(min_value=0),
        help_text=f"Messages of the last {DAYS} days by status, those that there are.",
    )


class StreamSuppressionRequest(StrictSerializer):
    """The body of POST mail/streams/{name}/suppressions/."""

    address = MailboxField()


class StreamSuppressionResponse(serializers.Serializer[Any]):
    """An address that gets no mail of the stream."""

    address = serializers.CharField()
    url = serializers.URLField()
    stream = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    created_at = serializers.DateTimeField()


def stream_summary(stream: Stream, request: Request) -> dict[str, Any]:
    """A stream as it is listed: StreamSummary."""
    return {
        "name": stream.name,
        "url": request.build_absolute_uri(reverse("stream", args=[stream.name])),
        "suppressions": _suppressions_url(stream.name, request),
        "created_at": stream.created_at,
    }


def stream_representation(stream: Stream, request: Request) -> dict[str, Any]:
    """A stream as its owner sees it: StreamResponse."""
    rates = rates_of_stream(stream)
    return stream_summary(stream, request) | {
        "stopped_at": stream.stopped_at,
        "stop_reason": stream.stop_reason or None,
        "bounce_rate": rates.bounces,
        "complaint_rate": rates.complaints,
        "figures": figures_of(stream),
    }


def stream_suppression_representation(suppression: StreamSuppression, address: str, request: Request) -> dict[str, Any]:
    """A suppression as it is shown: StreamSuppressionResponse. address: of a forgotten person, as it was asked for."""
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
