"""The API's description of itself is valid, complete, and public; everything else asks who is calling."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from rest_framework.test import APIClient

from jobs.registry import kinds

SAMPLES = {"uuid": "01900000-0000-7000-8000-000000000000", "int": "1", "str": "x", "slug": "x", "path": "x"}

PUBLIC = {
    ("POST", "/webhooks/mailgun/tracking/"),
    ("GET", "/"),
    ("GET", "/admin"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),  # guarded by METRICS_TOKEN and METRICS_ALLOWED
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


def test_errors_are_shared_and_all_are_problems() -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    shared = document()["components"]["responses"]
    assert shared["NotFound"]["description"]
    for answer in shared.values():
        assert answer["content"] == problem
    for path, method, operation in operations():
        for status, answer in operation["responses"].items():
            if "$ref" in answer:
                answer = shared[answer["$ref"].removeprefix("#/components/responses/")]
                assert int(status) >= 400, (path, method, status)
            assert {"RateLimit", "X-Request-ID"} <= set(answer["headers"]), (path, method, status)
            assert int(status) < 400 or answer["content"] == problem, (path, method, status)


def test_every_operation_has_a_summary_a_described_tag_and_examples_of_its_json() -> None:
    tags = {tag["name"] for tag in document()["tags"] if tag["description"]}
    for path, method, operation in operations():
        assert 3 < len(operation["summary"]) < 120, (path, method)
        assert set(operation["tags"]) <= tags, (path, method, "add it to SPECTACULAR_SETTINGS['TAGS']")
        assert not [each for each in operation.get("parameters", []) if each["in"] == "path" and "example" not in each]
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in [each for body in bodies for each in body.get("content", {}).items()]:
            if content[0] == "application/json":
                assert content[1]["examples"], (path, method)


def test_the_examples_are_what_their_schemas_say() -> None:
    components = {"components": document()["components"]}
    for path, method, operation in operations():
        for body in [operation.get("requestBody", {}), *operation["responses"].values()]:
            for content in body.get("content", {}).values():
                validator = OAS31Validator(components | content["schema"])
                for example in content.get("examples", {}).values():
                    value = resolved(example)["value"]
                    assert not list(validator.iter_errors(value)), (path, method, value)


def test_there_is_a_variant_of_a_job_for_each_kind() -> None:
    schemas = document()["components"]["schemas"]
    mapping = schemas["JobRequest"]["discriminator"]["mapping"]
    # Other modules of tests register kinds of their own, before or after the document is generated.
    ours = [kind.name for kind in kinds() if not kind.internal and not kind.handler.__module__.startswith("tests.")]
    registered_by_tests = {kind.name for kind in kinds()} - set(ours)
    assert [name for name in mapping if name not in registered_by_tests] == ours
    countdown = schemas[mapping["demo.countdown"].rpartition("/")[2]]
    assert countdown["properties"]["kind"] == {"type": "string", "const": "demo.countdown"}
    assert schemas[countdown["properties"]["params"]["$ref"].rpartition("/")[2]]["required"] == ["seconds"]


def test_any_json_is_the_empty_schema_and_items_are_references() -> None:
    schemas = document()["components"]["schemas"]
    assert schemas["JobResponse"]["properties"]["result"] == {}
    items_of = {"BatchRequest": "jobs", "MessageBatchRequest": "messages", "BroadcastRequest": "recipients"}
    for name, items in items_of.items():
        assert set(schemas[name]["properties"][items]["items"]) == {"$ref"}


def resolved(node: Any) -> Any:
    if "$ref" not in node:
        return node
    found = document()
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


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
    assert Client().get("/api/v1/docs/?script=").status_code == 400, "what drf-spectacular's own page would take"


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
def test_every_route_needs_authentication_unless_it_is_on_the_public_list() -> None:
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
def test_every_resource_refuses_parameters_that_it_does_not_know() -> None:
    caller = APIClient()
    caller.force_authenticate(User.objects.create_superuser("ada"))
    for path, view in routes():
        for method in ("GET", "HEAD", "POST", "PATCH", "DELETE"):
            if path.startswith("/api/") and hasattr(getattr(view, "cls", None), method.lower()):
                answer = caller.generic(method, f"{path}?unheard_of=1")
                assert answer.status_code == 400, (method, path)
                assert method == "HEAD" or answer.json()["errors"][0]["field"] == "unheard_of", (method, path)


@pytest.mark.django_db
def test_the_admin_asks_for_a_login() -> None:
    answer = Client().get("/admin/")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")
