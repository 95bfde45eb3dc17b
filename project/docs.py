"""The public API documentation: the OpenAPI document, and Swagger UI from our own static files."""

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from project.page.policy import DOCS_POLICY
from rest.json import dumps


class SchemaView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(_document(), content_type="application/json")


@cache
def _document() -> bytes:
    """Slow to generate; the same for every user and as long as the process lives."""
    return dumps(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Swagger UI. Not drf-spectacular's page, which needs inline scripts."""
    return HttpResponse(render_to_string("page/docs.html"), headers={"Content-Security-Policy": DOCS_POLICY})
