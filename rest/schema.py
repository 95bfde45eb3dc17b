"""The OpenAPI document: what drf-spectacular finds in the views, and the problems that every call can answer.

A view says which others it answers besides: `problems = {"POST": (409, 422)}`.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.conf import settings
from drf_spectacular import openapi
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS

from rest import problems
from rest.strict import StrictSerializer

Json = dict[str, Any]

LIMITS = ("RateLimit", "RateLimit-Policy")


class AutoSchema(openapi.AutoSchema):
    def get_operation(self, *args: Any, **kwargs: Any) -> Json | None:
        operation: Json | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        responses = operation["responses"]
        for status in sorted({*self._possible(operation), *_own_errors(responses)}):
            responses[str(status)] = _problem_response(status, responses.get(str(status), {}))
        for response in responses.values():
            response["headers"] = {**response.get("headers", {}), **_refs("X-Request-ID", *LIMITS)}
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Json:
        schema: Json = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        return schema | {"additionalProperties": False} if isinstance(serializer, StrictSerializer) else schema

    def _possible(self, operation: Json) -> Iterator[int]:
        """The statuses of the errors that this operation can really answer."""
        yield from getattr(self.view, "problems", {}).get(self.method, ())
        parameters = {parameter["in"] for parameter in operation.get("parameters", ())}
        if "requestBody" in operation:
            yield from (400, 408, 413, 415)
        if parameters & {"query", "header"}:
            yield 400
        if "path" in parameters:
            yield 404
        yield from self._refusals()
        yield from (429, 500, 503)

    def _refusals(self) -> Iterator[int]:
        authenticators = self.view.get_authenticators()
        if any(authenticator.authenticate_header(self.view.request) for authenticator in authenticators):
            yield 401
        if self.method not in SAFE_METHODS and any(isinstance(each, SessionAuthentication) for each in authenticators):
            yield 403


def _own_errors(responses: Json) -> list[int]:
    """Errors that a view described by itself; they have the same shape."""
    return [int(status) for status in responses if status.isdigit() and int(status) >= 400]


def _problem_response(status: int, described: Json) -> Json:
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = described.get("headers", {}) | _refs(*HEADERS_OF.get(status, ()))
    description = described.get("description") or EXPLAINED.get(status) or HTTPStatus(status).phrase
    return {"description": description, "content": content, "headers": headers}


HEADERS_OF = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

EXPLAINED = {
    400: "The input is not valid.",
    401: "The credentials are missing or wrong.",
    403: "The CSRF token is missing or wrong, or this is not allowed.",
    404: "There is nothing here, or it is not yours.",
    408: "The body took too long to arrive.",
    409: "The present state does not allow this.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many requests, or too many wrong passwords.",
    500: "A fault of the server.",
    503: "The database cannot be reached just now.",
}


def _refs(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def add_shared_parts(result: Json, generator: object, request: object, public: bool) -> Json:
    """drf-spectacular's last hook (SPECTACULAR_SETTINGS): the parts that all the operations refer to."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components.setdefault("headers", {}).update(HEADERS)
    return result


TEXT = {"type": "string"}
PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457: what every error looks like.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": TEXT,
        "instance": {"type": "string", "description": "The path that was asked for."},
        "errors": {
            "type": "array",
            "description": "What is wrong with the input; field is a dotted path, empty for the input as a whole.",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {"field": TEXT, "code": TEXT, "detail": TEXT},
            },
        },
    },
}
HEADERS: Json = {
    "X-Request-ID": {"description": "The request's id, in every line of log that it causes.", "schema": TEXT},
    "RateLimit": {"description": 'What is left: "default";r=requests;t=seconds.', "schema": TEXT},
    "RateLimit-Policy": {"description": 'What is allowed: "default";q=requests;w=seconds.', "schema": TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "The scheme that is expected.", "schema": TEXT},
}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "project.login.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> Json:
        description = "Stand-alone clients: `Token <key>`, with a key from `POST tokens/`."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Browsers: the cookie, and for whatever changes something the header besides."""

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
