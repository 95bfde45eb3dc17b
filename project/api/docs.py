"""The public API documentation: the OpenAPI document, and Swagger UI from our own static files."""

from functools import cache
from threading import Thread

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from jobs.api.params_schema import params_schema
from jobs.registry import kinds
from project.page.policy import DOCS_POLICY
from rest.json import dumps
from rest.openapi.schema import generating
from rest.problems import response_for
from rest.requests.query import KnownParameters
from rest.requests.strict import unknown_names


class SchemaView(APIView):
    query_parameters = ("format", "lang")  # DRF's own clients and Swagger UI send them; there is one format
    authentication_classes = ()
    permission_classes = (AllowAny, KnownParameters)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(_document(), content_type="application/json")


def _document() -> bytes:
    """Slow to generate; the same for every user, as long as the process lives."""
    with generating:
        return _generated()


@cache
def _generated() -> bytes:
    return dumps(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]


def build() -> None:
    """Generate the document and all kinds' schemas in a thread, because the first requests would wait for them."""
    Thread(target=_build, name="schema", daemon=True).start()


def _build() -> None:
    _document()
    for kind in kinds():
        params_schema(kind)


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Swagger UI. Not drf-spectacular's page, which needs inline scripts."""
    if errors := unknown_names(request.GET, (), "parameter"):
        return response_for(ValidationError(errors), request)
    return HttpResponse(render_to_string("page/docs.html"), headers={"Content-Security-Policy": DOCS_POLICY})
