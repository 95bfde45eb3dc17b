"""Every error is application/problem+json and gives nothing away; whatever is sent, it is never a 500."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.test import Client
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.errors import LockNotAvailable
from rest_framework import serializers
from rest_framework.exceptions import APIException, ErrorDetail, NotAcceptable, ParseError, Throttled, ValidationError
from rest_framework.permissions import AllowAny, IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from project import urls
from rest.requests.field_errors import flatten
from rest.requests.strict import StrictSerializer
from tests.support.api_clients import QUOTA_EXCEEDED, assert_problem

SECRET = "the-secret-of-the-server"


class Taken(APIException):
    status_code = 409
    default_detail = "It is taken."
    headers = {"Location": "/elsewhere/"}  # noqa: RUF012


ERRORS: dict[str, tuple[Callable[[], Exception], int]] = {
    "validation": (lambda: ValidationError({"a": ["no"]}), 400),
    "parse": (lambda: ParseError("no"), 400),
    "bad": (lambda: BadRequest(SECRET), 400),
    "suspicious": (lambda: SuspiciousOperation(SECRET), 400),
    "range": (lambda: DataError(SECRET), 400),
    "denied": (lambda: PermissionDenied(SECRET), 403),
    "missing": (lambda: Http404(SECRET), 404),
    "acceptable": (lambda: NotAcceptable(), 406),
    "taken": (Taken, 409),
    "big": (lambda: RequestDataTooBig(SECRET), 413),
    "throttled": (lambda: Throttled(7), 429),
    "unexpected": (lambda: RuntimeError(SECRET), 500),
    "database": (lambda: OperationalError(SECRET), 503),
    "interface": (lambda: InterfaceError(SECRET), 503),
    "locked": (lambda: row_locked(), 503),
}


def row_locked() -> OperationalError:
    error = OperationalError(SECRET)
    error.__cause__ = LockNotAvailable()
    return error


class FailingView(APIView):
    permission_classes = (AllowAny,)

    def get(self, request: Request, name: str) -> Response:
        raise ERRORS[name][0]()


@csrf_exempt
def failing_page(request: HttpRequest, name: str) -> HttpResponse:
    raise ERRORS[name][0]()


def foreign_refusal(request: HttpRequest) -> HttpResponse:
    return HttpResponseNotAllowed(["PUT"])


class Inner(StrictSerializer):
    seconds = serializers.IntegerField(min_value=0)


class Outer(StrictSerializer):
    kind = serializers.CharField()
    params = Inner(required=False)
    jobs = Inner(many=True, required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=3), required=False)


class EchoView(APIView):
    permission_classes = (AllowAny,)

    def post(self, request: Request) -> Response:
        outer = Outer(data=request.data)
        outer.is_valid(raise_exception=True)
        return Response(outer.validated_data)


class StaffView(APIView):
    permission_classes = (IsAdminUser,)

    def get(self, request: Request) -> Response:
        return Response()


urlpatterns = [
    path("api/fail/<name>/", FailingView.as_view()),
    path("api/echo/", EchoView.as_view()),
    path("api/staff/", StaffView.as_view()),
    path("page/<name>/", failing_page),
    path("foreign/", foreign_refusal),
    *urls.urlpatterns,
]
handler400, handler403, handler404, handler500 = urls.handler400, urls.handler403, urls.handler404, urls.handler500


@pytest.fixture(autouse=True)
def _our_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


def client(**more: Any) -> APIClient:
    return APIClient(raise_request_exception=False, **more)


# --- the shape -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_of_an_api_view_is_a_problem(name: str) -> None:
    answer = client().get(f"/api/fail/{name}/")
    body = assert_problem(answer, ERRORS[name][1])
    assert SECRET not in answer.content.decode()
    assert body["instance"] == f"/api/fail/{name}/"
    assert "RateLimit" in answer
    assert "RateLimit-Policy" in answer


@pytest.mark.parametrize("name", sorted(set(ERRORS) - {"validation", "parse", "acceptable", "taken", "throttled"}))
def test_every_error_outside_the_api_views_is_a_problem(name: str) -> None:
    answer = client().post(f"/page/{name}/")
    assert_problem(answer, ERRORS[name][1])
    assert SECRET not in answer.content.decode()


def test_an_unexpected_error_is_logged_with_its_traceback_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    body = assert_problem(client().get("/api/fail/unexpected/"), 500)
    assert body["detail"] == "Internal error; it has been logged."
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR and each.name.startswith("rest.")]
    assert SECRET in str(record.msg)


@pytest.mark.parametrize("place", ["api/fail", "page"])
@pytest.mark.parametrize(("name", "seconds"), [("database", "5"), ("interface", "5"), ("locked", "1")])
def test_a_database_that_is_away_or_busy_is_503_with_a_time_to_try_again(place: str, name: str, seconds: str) -> None:
    assert client().get(f"/{place}/{name}/")["Retry-After"] == seconds


def test_an_error_may_carry_header_fields() -> None:
    assert client().get("/api/fail/taken/")["Location"] == "/elsewhere/"


def test_429_names_its_type_and_when_to_come_back() -> None:
    answer = client().get("/api/fail/throttled/")
    assert answer["Retry-After"] == "7"
    assert answer.json()["type"] == QUOTA_EXCEEDED


def test_405_says_what_is_allowed() -> None:
    answer = client().put("/api/echo/", {})
    assert_problem(answer, 405)
    assert "POST" in answer["Allow"]


def test_an_unknown_method_is_405() -> None:
    assert_problem(client().generic("BREW", "/api/echo/"), 405)


def test_an_error_response_of_django_becomes_a_problem_and_keeps_its_header_fields() -> None:
    answer = client().get("/foreign/")
    assert_problem(answer, 405)
    assert answer["Allow"] == "PUT"


@pytest.mark.django_db
def test_missing_credentials_are_401_and_missing_rights_are_403(django_user_model: Any) -> None:
    assert client().get("/api/staff/")["WWW-Authenticate"] == "Token"
    assert_problem(client().get("/api/staff/"), 401)
    user = client()
    user.force_authenticate(django_user_model(username="ada", pk=1))
    assert_problem(user.get("/api/staff/"), 403)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "OPTIONS"])
def test_an_unknown_url_is_a_problem_also_with_debug(settings: Any, debug: bool, method: str) -> None:
    settings.DEBUG = debug
    answer = Client(enforce_csrf_checks=True).generic(method, "/api/v1/nothing/")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert "RateLimit" in answer


def test_a_missing_last_slash_names_the_url_that_was_meant() -> None:
    body = assert_problem(client().post("/api/v1/tokens", {}), 404)
    assert "did you mean /api/v1/tokens/?" in body["detail"]
    assert "meant" not in assert_problem(client().get("/api/v1/nothing"), 404)["detail"]


def test_an_unknown_host_is_a_problem(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["legwork.example.org"]
    assert_problem(client().get("/api/v1/session/", headers={"Host": "evil.example.org"}), 400)


def test_a_form_without_its_csrf_token_is_a_problem_but_a_page_in_the_admin() -> None:
    strict = Client(enforce_csrf_checks=True)
    assert_problem(strict.post("/"), 403)
    page = strict.post("/admin/login/", {})
    assert page.status_code == 403
    assert page["Content-Type"].startswith("text/html")


@pytest.mark.django_db
def test_the_admin_keeps_its_pages(admin_client: Client) -> None:
    assert admin_client.get("/admin/nothing/")["Content-Type"].startswith("text/html")
    assert admin_client.get("/admin/").status_code == 200
    assert Client().get("/admin").headers["Location"] == "/admin/"


def test_the_limit_of_requests_is_429_with_its_header_fields(settings: Any) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 3
    answers = [client().get("/api/v1/session/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0]["RateLimit-Policy"] == '"default";q=3;w=60'
    assert [answer["RateLimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert_problem(answers[3], 429)
    left = int(answers[3]["RateLimit"].split("t=")[1])
    assert left <= int(answers[3]["Retry-After"]) <= 61
    assert client().get("/api/v1/session/", REMOTE_ADDR="192.0.2.9").status_code == 200


@pytest.mark.parametrize("url", ["/api/v1/tokens/", "/api/v1/nothing/"])
def test_refused_requests_are_limited_too(settings: Any, url: str) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 2
    statuses = [client().get(url).status_code for _ in range(3)]
    assert statuses == [statuses[0], statuses[0], 429]


def test_an_api_answer_is_private() -> None:
    answer = client().get("/api/v1/nothing/")
    assert answer["Cache-Control"] == "private, no-cache"
    assert {"Authorization", "Cookie"} <= set(answer["Vary"].split(", "))


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*;q=0.1", "nonsense", "*/*", ""])
def test_an_error_is_json_whatever_the_client_accepts(accept: str) -> None:
    answer = client().get("/api/v1/session/", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"


def test_options_says_which_methods_there_are() -> None:
    assert client().options("/api/echo/").status_code == 200


# --- what was wrong with the input ---------------------------------------------------------------------------------


def errors_of(data: Any) -> list[tuple[str, str]]:
    body = assert_problem(client().post("/api/echo/", data), 400)
    return [(error["field"], error["code"]) for error in body["errors"]]


def test_errors_name_fields_by_dotted_paths() -> None:
    data = {"params": {"seconds": -1, "more": 1}, "jobs": [{"seconds": 1}, {"seconds": "x"}], "tags": ["ok", "long"]}
    assert sorted(errors_of(data | {"kind": "x"})) == [
        ("jobs.1.seconds", "invalid"),
        ("params.more", "unknown"),
        ("tags.1", "max_length"),
    ]
    assert errors_of({"kind": "x", "params": {"seconds": -1}}) == [("params.seconds", "min_value")]
    assert errors_of({}) == [("kind", "required")]


@pytest.mark.parametrize("body", [[], [1], "text", 1, None, True])
def test_a_body_that_is_no_object_is_400_as_a_whole(body: Any) -> None:
    assert errors_of(json.loads(json.dumps(body))) in ([("", "invalid")], [("", "null")], [("kind", "required")])


def test_an_error_of_the_whole_input_is_the_detail() -> None:
    body = assert_problem(client().post("/api/echo/", [1]), 400)
    assert body["detail"] == body["errors"][0]["detail"]


details = st.recursive(
    st.lists(st.builds(ErrorDetail, st.text(min_size=1), st.just("invalid")), min_size=1, max_size=3),
    lambda inner: st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=10,
)


@given(details)
def test_no_error_is_lost_when_errors_are_flattened(detail: Any) -> None:
    def leaves(part: Any) -> list[str]:
        inner = part.values() if isinstance(part, dict) else part
        return [part] if isinstance(part, str) else [leaf for each in inner for leaf in leaves(each)]

    assert [error["detail"] for error in flatten(detail)] == [str(leaf) for leaf in leaves(detail)]
