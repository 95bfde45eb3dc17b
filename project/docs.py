"""The public API documentation: the OpenAPI document, and Swagger UI from our own static files."""

from functools import cache

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

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


class DocsView(SpectacularSwaggerView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    http_method_names = ("get", "head")  # an OPTIONS request would need a template that it does not have
