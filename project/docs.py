"""The public API documentation: the OpenAPI document, and Swagger UI from our own static files."""

from functools import cache
from threading import Thread
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.api.params_schema import params_schema
from jobs.registry import kinds
from rest.json import dumps
from rest.schema import generating

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class SchemaView(APIView):
    query_parameters = ("format", "lang")  # DRF's own clients and Swagger UI send them; there is one format
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(_document(), content_type="application/json")


def _document() -> bytes:
    """Slow to generate; the same for every user and as long as the process lives."""
    with generating:
        return _generated()


@cache
def _generated() -> bytes:
    return dumps(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]


def build() -> None:
    """Generate the document and the schemas of all kinds, in a thread beside the start: the first requests wait."""
    Thread(target=_build, name="schema", daemon=True).start()


def _build() -> None:
    _document()
    for kind in kinds():
        params_schema(kind)


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI sets styles of its own, which its policy has to allow."""

    query_parameters = ("script", "lang")
    template_name = "project/docs.html"
    authentication_classes = ()
    permission_classes = (AllowAny,)
    http_method_names = ("get", "head")  # an OPTIONS request would need a template that it does not have

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Content-Security-Policy"] = POLICY
        return response
