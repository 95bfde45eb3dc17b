"""The OpenAPI document: drf-spectacular's description of the views, plus the error responses of every operation.

A view declares further ones: `problems = {"POST": (409, 422)}`.
"""

from collections.abc import Iterator
from http import HTTPStatus
from threading import RLock
from typing import Any

from django.conf import settings
from drf_spectacular import openapi
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS

from rest import problems
from rest.strict import StrictSerializer

Json = dict[str, Any]

generating = RLock()
"""Hold it while drf-spectacular generates a document: it is not thread-safe."""

LIMITS = ("RateLimit", "RateLimit-Policy")


class AutoSchema(openapi.AutoSchema):
    def get_operation(self, *args: Any, **kwargs: Any) -> Json | None:
        operation: Json | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        responses = operation["responses"]
        # Errors that the view describes itself have the same shape.
        described = {int(status) for status in responses if status.isdigit() and int(status) >= 400}
        for status in sorted(described.union(self._error_statuses(operation))):
            responses[str(status)] = _problem_response(status, responses.get(str(status), {}))
        for response in responses.values():
            response["headers"] = {**response.get("headers", {}), **_refs("X-Request-ID", *LIMITS)}
        operation["responses"] = dict(sorted(responses.items()))
        return operation

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


def _problem_response(status: int, described: Json) -> Json:
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = described.get("headers", {}) | _refs(*HEADERS_OF.get(status, ()))
    description = described.get("description") or DESCRIPTIONS.get(status) or HTTPStatus(status).phrase
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


def _refs(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def add_shared_parts(result: Json, generator: object, request: object, public: bool) -> Json:
    """drf-spectacular's last hook (SPECTACULAR_SETTINGS): adds the components that operations refer to."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components.setdefault("headers", {}).update(HEADERS)
    return result


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
        description = "For programs: `Token <key>`, with a key from `POST tokens/`."
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
