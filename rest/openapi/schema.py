"""The OpenAPI document: drf-spectacular's description of the views, plus the error responses of every operation.

A view declares further statuses: `problems = {"POST": (409, 422)}`. The first words of a method's docstring are the
operation's summary. Examples: rest/openapi/examples.py.
"""

import re
from collections.abc import Iterator
from threading import RLock
from typing import Any

from django.conf import settings
from drf_spectacular import openapi
from drf_spectacular.contrib.django_filters import DjangoFilterExtension
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS

from rest import problems
from rest.openapi.examples import add_examples
from rest.openapi.parts import UUID_EXAMPLE
from rest.requests.batch import ItemsField
from rest.requests.strict import AnyValueField, StrictSerializer

Json = dict[str, Any]

ON_EVERY_RESPONSE = ("X-Request-ID", "RateLimit", "RateLimit-Policy")
PATH_EXAMPLES = {"address": "ada@example.org", "lease_id": f"{UUID_EXAMPLE}-1", "name": "news"}

# Otherwise each process looks for GDAL with ldconfig and a compiler, and loads what it finds.
DjangoFilterExtension._has_gis = False  # type: ignore[attr-defined]

generating = RLock()
"""Hold it while drf-spectacular generates a document: it is not thread-safe."""


class AutoSchema(openapi.AutoSchema):
    def get_operation(self, *args: Any, **kwargs: Any) -> Json | None:
        operation: Json | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        responses: Json = operation["responses"]
        for response in responses.values():
            response["headers"] = {**response.get("headers", {}), **_refs("headers", *ON_EVERY_RESPONSE)}
        # Errors that the view describes itself have the same shape.
        described = {status for status in responses if int(status) >= 400}
        responses |= {status: _problem_response(int(status), responses[status]["description"]) for status in described}
        shared = {str(status): problem_name(status) for status in self._error_statuses(operation)}
        responses |= {
            status: {"$ref": f"#/components/responses/{name}"}
            for status, name in shared.items()
            if status not in described
        }
        operation["responses"] = dict(sorted(responses.items()))
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                is_uuid = parameter["schema"].get("format") == "uuid"
                parameter["example"] = UUID_EXAMPLE if is_uuid else PATH_EXAMPLES.get(parameter["name"], "example")
        return operation

    def get_summary(self) -> str:
        return re.split(r"[.:;]\s", self.get_description())[0].removesuffix(".")

    def get_tags(self) -> list[str]:
        """The collection: the first part of the path, in mail/ the second."""
        collections = [part for part in self._tokenize_path() if part != "mail"]
        return collections[:1] or ["index"]

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Json:
        schema: Json = super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if isinstance(field, AnyValueField):
            # Not oneOf of {} and null, which is how drf-spectacular says that null is allowed.
            return {name: value for name, value in schema.items() if name == "description"}
        if isinstance(field, ItemsField):
            item = field.item() if isinstance(field.item, type) else field.item
            return schema | {"items": self.resolve_serializer(item, direction).ref}
        return schema

    def _get_request_for_media_type(self, serializer: Any, direction: str = "request") -> tuple[Json, bool]:
        schema, required = super()._get_request_for_media_type(serializer, direction)  # type: ignore[no-untyped-call]
        return schema, required or isinstance(serializer, PolymorphicProxySerializer)

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Json:
        schema: Json = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        return schema | {"additionalProperties": False} if isinstance(serializer, StrictSerializer) else schema

    def _error_statuses(self, operation: Json) -> Iterator[int]:
        """The error statuses that this operation can return."""
        yield from getattr(self.view, "problems", {}).get(self.method, ())
        parameters = {parameter["in"] for parameter in operation.get("parameters", ())}
        if "requestBody" in operation:
            yield from (400, 408, 413, 415)
        if parameters & {"query", "header"}:
            yield 400
        if "path" in parameters:
            yield 404
        yield from self._authentication_errors()
        yield from (429, 500, 503)

    def _authentication_errors(self) -> Iterator[int]:
        authenticators = self.view.get_authenticators()
        if any(authenticator.authenticate_header(self.view.request) for authenticator in authenticators):
            yield 401
        if self.method not in SAFE_METHODS and any(isinstance(each, SessionAuthentication) for each in authenticators):
            yield 403


def problem_name(status: int) -> str:
    """The name of the shared response: 404 is NotFound."""
    return re.sub(r"[^A-Za-z]", "", problems.title(status).title())


def _problem_response(status: int, description: str = "") -> Json:
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = _refs("headers", *HEADERS_OF.get(status, ()), *ON_EVERY_RESPONSE)
    description = description or DESCRIPTIONS.get(status) or problems.title(status)
    return {"description": description, "content": content, "headers": headers}


HEADERS_OF = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

DESCRIPTIONS = {
    400: "The input is not valid.",
    401: "The credentials are missing or wrong.",
    403: "The CSRF token is missing or wrong, or this is not allowed.",
    404: "There is nothing here, or it is not yours.",
    408: "The body took too long to arrive.",
    409: "The current state does not allow this.",
    410: "The lease is lost or finished.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many requests, or too many wrong passwords.",
    500: "Internal error.",
    503: "The database is unreachable right now.",
}


def _refs(section: str, *names: str) -> Json:
    return {name: {"$ref": f"#/components/{section}/{name}"} for name in names}


def add_shared_parts(result: Json, generator: object, request: object, public: bool) -> Json:
    """drf-spectacular's last hook (SPECTACULAR_SETTINGS): adds the components that operations refer to."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components.setdefault("headers", {}).update(HEADERS)
    add_examples(result)
    components["responses"] = {problem_name(status): _problem_response(status) for status in _shared_statuses(result)}
    return result


def _shared_statuses(document: Json) -> list[int]:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    responses = [item for operation in operations for item in operation["responses"].items()]
    return sorted({int(status) for status, response in responses if "$ref" in response})


TEXT = {"type": "string"}
PROBLEM: Json = {
    "type": "object",
    "description": "The body of every error response (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "description": "Which of the causes that a status may have, for programs."},
        "detail": TEXT,
        "instance": {"type": "string", "description": "The path of the request."},
        "errors": {
            "type": "array",
            "description": "Errors of the input. field: a dotted path; empty if the error is about the whole input.",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {"field": TEXT, "code": TEXT, "detail": TEXT},
            },
        },
    },
}
HEADERS: Json = {
    "X-Request-ID": {"description": "The request's id; also in each of its log lines.", "schema": TEXT},
    "RateLimit": {"description": 'The remaining requests: "default";r=requests;t=seconds.', "schema": TEXT},
    "RateLimit-Policy": {"description": 'The limit: "default";q=requests;w=seconds.', "schema": TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "The expected authentication scheme.", "schema": TEXT},
}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "project.login.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> Json:
        description = "For programs: `Token <key>`, with a key from `POST tokens/`. This page supplies the word Token."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """For browsers: the session cookie, and for unsafe methods also the CSRF header."""

    target_class = "project.login.authentication.SessionAuthentication"
    name = ["session", "csrf"]  # noqa: RUF012  # drf-spectacular declares it so

    def get_security_requirement(self, auto_schema: openapi.AutoSchema) -> Json:
        return {"session": []} if auto_schema.method in SAFE_METHODS else {"session": [], "csrf": []}

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> list[Json]:
        return [
            {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
            {"type": "apiKey", "in": "header", "name": "X-CSRFToken", "description": "The csrftoken cookie's value."},
        ]


class BasicScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "project.login.authentication.BasicCredentials"
    name = "basic"

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> Json:
        return {"type": "http", "scheme": "basic"}
