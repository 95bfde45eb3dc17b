"""GET limits/: what the caller may have and do, and how much of it is used."""

from collections.abc import Iterator
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.models import Output
from jobs.usage import unfinished_jobs
from mail.models import Template
from mail.usage import unsent_messages
from project.models import Token
from rest.requests.body import body_limit
from rest.throttling import ALLOWANCE, SECONDS
from rest.watch.watchers import watches_of


class Limit(serializers.Serializer[Any]):
    """A bound, and how much of it the caller uses."""

    name = serializers.CharField()
    used = serializers.IntegerField(min_value=0)
    limit = serializers.IntegerField(min_value=0)
    unit = serializers.CharField()


class Limits(serializers.Serializer[Any]):
    results = Limit(many=True)
    body_bytes = serializers.IntegerField(help_text="The largest body of a request, except those of mail.")
    mail_body_bytes = serializers.IntegerField(help_text="The largest body of a request below mail/.")
    calls_per_host = serializers.IntegerField(help_text="Calls of http.request to one host in a minute, of all users.")


class LimitsView(APIView):
    @extend_schema(operation_id="limits", responses=Limits)
    def get(self, request: Request) -> Response:
        """Your limits and your use of them. Counts may be a second old."""
        found = {
            "results": [
                {"name": name, "used": used, "limit": limit, "unit": unit}
                for name, used, limit, unit in _limits(request)
            ],
            "body_bytes": body_limit("/api/v1/"),
            "mail_body_bytes": body_limit("/api/v1/mail/"),
            "calls_per_host": settings.MAX_CALLS_PER_HOST,
        }
        return Response(found)


def _limits(request: Request) -> Iterator[tuple[str, int, int, str]]:
    """Name, use, bound and unit of each limit."""
    user = cast("User", request.user)
    allowance = request.META[ALLOWANCE]
    yield "requests", allowance.used, allowance.limit, f"requests in {SECONDS} s"
    yield "jobs", unfinished_jobs.used_by(user.pk), settings.MAX_QUEUED_JOBS, "unfinished jobs"
    yield "messages", unsent_messages.used_by(user.pk), settings.MAX_UNSENT_MESSAGES, "unsent messages"
    yield "templates", Template.objects.filter(user=user).count(), settings.MAX_TEMPLATES, "templates"
    yield "tokens", Token.objects.live_for(user).count(), settings.MAX_TOKENS, "tokens"
    yield "output_bytes", Output.objects.bytes_of(user.pk), settings.MAX_OUTPUT_BYTES, "bytes of jobs' files"
    yield "watches", watches_of(user.pk), settings.MAX_WATCHES, "streams and held responses of one web process"
