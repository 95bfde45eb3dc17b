"""The API's description of itself is valid, complete, and public; everything else asks who is calling."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from openapi_spec_validator import validate

SAMPLES = {"uuid": "01900000-0000-7000-8000-000000000000", "int": "1", "str": "x", "slug": "x", "path": "x"}

PUBLIC = {
    ("POST", "/webhooks/mailgun/tracking/"),
    ("GET", "/"),
    ("GET", "/admin"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/api/v1/"),
    ("GET", "/api/v1/schema/"),
    ("GET", "/api/v1/docs/"),
    ("GET", "/api/v1/session/"),
    ("POST", "/api/v1/session/"),
    ("DELETE", "/api/v1/session/"),
    ("POST", "/api/v1/tokens/"),
}
"""What strangers may call. Whoever adds to it should be able to say why."""

REFUSED = {401, 403, 404, 405}


@cache
def document() -> Any:
    return Client().get("/api/v1/schema/").json()


def operations() -> list[tuple[str, str, Any]]:
    paths = document()["paths"].items()
    return [(path, method, operation) for path, methods in paths for method, operation in methods.items()]


def test_the_document_is_valid_openapi_3_1() -> None:
    assert document()["openapi"].startswith("3.1")
    validate(document())


def test_nothing_in_the_views_puzzles_the_generator(tmp_path: Any) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yaml"))


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "application/yaml"])
def test_the_document_is_json_for_everybody(accept: str) -> None:
    answer = Client().get("/api/v1/schema/", headers={"Accept": accept, "Authorization": "Token stale"})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"


def test_every_operation_documents_the_problems_it_can_answer() -> None:
    for path, method, operation in operations():
        answers = operation["responses"]
        assert {"429", "500", "503"} <= set(answers), (path, method)
        assert ("404" in answers) or "{" not in path, (path, method)
        if "requestBody" in operation:
            assert {"400", "408", "413", "415"} <= set(answers), (path, method)
        if {} not in operation["security"]:
            assert "401" in answers, (path, method)
            assert ("403" in answers) is (method != "get"), (path, method)


def test_every_documented_error_is_a_problem() -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, method, operation in operations():
        for status, answer in operation["responses"].items():
            assert "RateLimit" in answer["headers"], (path, method, status)
            assert int(status) < 400 or answer["content"] == problem, (path, method, status)


def test_a_conflict_that_a_view_declares_is_documented() -> None:
    assert "409" in document()["paths"]["/api/v1/tokens/current/"]["delete"]["responses"]


def test_tokens_sessions_and_csrf_are_described() -> None:
    schemes = document()["components"]["securitySchemes"]
    assert (schemes["token"]["in"], schemes["token"]["name"]) == ("header", "Authorization")
    assert (schemes["session"]["in"], schemes["session"]["name"]) == ("cookie", "sessionid")
    assert schemes["csrf"]["name"] == "X-CSRFToken"
    listing = document()["paths"]["/api/v1/tokens/"]
    assert listing["get"]["security"] == [{"token": []}, {"session": []}]
    assert listing["delete"]["security"] == [{"token": []}, {"session": [], "csrf": []}]


def test_input_that_refuses_unknown_fields_says_so() -> None:
    assert document()["components"]["schemas"]["TokenRequest"]["additionalProperties"] is False


def test_the_page_loads_nothing_from_elsewhere() -> None:
    answer = Client().get("/api/v1/docs/")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "/api/v1/schema/" in text
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", text)
    for source in re.findall(r"""(?:src|href)=["']([^"']+)""", text):
        if source.startswith("/api/v1/"):
            assert Client().get(source).status_code == 200, source
        else:
            assert finders.find(source.removeprefix("/static/")), source
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "/api/v1/schema/" in Client().get("/api/v1/docs/?script=").content.decode()


def routes() -> Iterator[tuple[str, Any]]:
    yield from _walk(get_resolver().url_patterns, "/")


def _walk(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if route.startswith(("/admin/", "/^")):
            continue
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, route)
        else:
            yield re.sub(r"<(?:(\w+):)?\w+>", lambda found: SAMPLES[found[1] or "str"], route), pattern.callback


@pytest.mark.django_db
def test_every_route_asks_who_is_calling_unless_it_is_on_the_public_list() -> None:
    opened = set()
    for path, _ in routes():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            answer = Client(enforce_csrf_checks=True).generic(method, path)
            if answer.status_code not in REFUSED:
                opened.add((method, path))
            elif path not in {public for _, public in PUBLIC} and path.startswith("/api/"):
                assert answer.status_code == 401, (method, path)
    assert opened <= PUBLIC
    assert ("GET", "/api/v1/docs/") in opened


@pytest.mark.django_db
def test_the_admin_asks_for_a_login() -> None:
    answer = Client().get("/admin/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")
