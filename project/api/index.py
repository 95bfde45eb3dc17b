"""GET /api/v1/: an index of the API's collections and documents, for people who explore it."""

from django.urls import NoReverseMatch, reverse
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from rest.requests.query import KnownParameters

LINKS = {
    "tokens": "tokens",
    "session": "session",
    "job_kinds": "job-kinds",
    "jobs": "jobs",
    "mail_messages": "messages",
    "mail_broadcasts": "broadcasts",
    "mail_suppressions": "suppressions",
    "mail_templates": "templates",
    "mail_streams": "streams",
    "leases": "leases",
    "limits": "limits",
    "schema": "schema",
    "docs": "docs",
}
"""The names of the links, and of their URLs (project/urls.py)."""


class IndexView(APIView):
    permission_classes = (AllowAny, KnownParameters)

    @extend_schema(
        operation_id="index", responses={200: {"type": "object", "additionalProperties": {"type": "string"}}}
    )
    def get(self, request: Request) -> Response:
        """The collections, the schema and the documentation, by their URLs."""
        return Response({name: request.build_absolute_uri(url) for name, url in _urls()})


def _urls() -> list[tuple[str, str]]:
    found = []
    for link, name in LINKS.items():
        try:
            found.append((link, reverse(name)))
        except NoReverseMatch:
            continue
    return found
