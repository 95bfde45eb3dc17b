"""GET, HEAD and OPTIONS change nothing: a view that tries is stopped, and no route of ours tries."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import ProgrammingError, connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, path
from psycopg2.sql import SQL, Identifier
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.models import Job
from jobs.models.ids import new_id
from jobs.run import Run
from mail.addresses.normalize import address_digest
from mail.models import Broadcast, Stream, StreamSuppression, Suppression, Template
from mail.unsubscribe.one_click import Link
from project.models import Session
from rest.read_only import WriteInSafeMethod
from tests.support.api_clients import assert_problem, make_token, make_user
from tests.support.factories import make_job
from tests.support.mail.messages import make_message

ADMIN = {"content_type_id": 1, "app_label": "jobs", "url": "nothing"}
SAFE = ["GET", "HEAD", "OPTIONS"]


def by_orm(request: HttpRequest) -> None:
    User.objects.create(username="ghost")


def by_update(request: HttpRequest) -> None:
    User.objects.update(first_name="ghost")


def by_sql(request: HttpRequest) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM auth_user")


def by_locking(request: HttpRequest) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM auth_user FOR UPDATE")


def by_composed_sql(request: HttpRequest) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SQL("DELETE FROM {}").format(Identifier("auth_user")))


WAYS = [by_orm, by_update, by_sql, by_locking, by_composed_sql]


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        yield b"a"
        by_orm(request)
        yield b"b"

    return StreamingHttpResponse(parts())


def plain(way: Callable[[HttpRequest], None]) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        way(request)
        return HttpResponse()

    return view


def api(way: Callable[[HttpRequest], None]) -> Callable[..., HttpResponse]:
    class View(APIView):
        permission_classes = ()

        def get(self, request: Request) -> Response:
            way(request)
            return Response()

        head = options = post = get

    return View.as_view()


urlpatterns = [
    *[path(f"plain/{way.__name__}/", plain(way)) for way in WAYS],
    *[path(f"api/v1/{way.__name__}/", api(way)) for way in WAYS],
    path("streaming/", streaming),
]
handler500 = "rest.problems.server_error"


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("place", ["plain", "api/v1"])
@pytest.mark.parametrize("way", WAYS)
def test_a_view_that_writes_in_a_safe_method_fails_and_has_not_written(
    way: Callable[[HttpRequest], None], place: str, method: str
) -> None:
    make_user("ada")
    url = f"/{place}/{way.__name__}/"
    with pytest.raises(WriteInSafeMethod):
        Client().generic(method, url)
    answer = Client(raise_request_exception=False).generic(method, url)

    if method == "GET":
        assert_problem(answer, 500)
    assert answer.status_code == 500
    assert list(User.objects.values_list("username", "first_name")) == [("ada", "")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
def test_the_same_view_may_write_in_an_unsafe_method() -> None:
    assert Client().post("/api/v1/by_orm/").status_code == 200
    assert User.objects.filter(username="ghost").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
def test_a_view_that_writes_while_it_streams_is_stopped_there() -> None:
    parts = iter(Client().get("/streaming/").streaming_content)
    assert next(parts) == b"a"
    with pytest.raises(WriteInSafeMethod):
        next(parts)
    assert not User.objects.exists()
    assert b"".join(Client().post("/streaming/").streaming_content) == b"ab"


@pytest.mark.django_db(transaction=True)
def test_a_session_may_end_in_a_safe_method_because_its_password_has_changed() -> None:
    browser = Client()
    user = make_user("ada", is_staff=True)
    browser.force_login(user)
    user.set_password("another-good-password")
    user.save()

    assert browser.get("/admin/").status_code == 302
    assert not Session.objects.exists()


@pytest.fixture
def read_only_role() -> Iterator[None]:
    """The database itself refuses all writes of this connection, independently of our own guard."""
    role = f"reader_{os.getpid()}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute(f"SET ROLE {role}")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        cursor.execute(f"DROP OWNED BY {role}")
        cursor.execute(f"DROP ROLE {role}")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no roles.")
@pytest.mark.django_db(transaction=True)
def test_every_route_can_be_read_with_a_role_that_must_not_write(
    request: pytest.FixtureRequest, settings: Any, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path
    cache.clear()
    user = make_user("ada", is_staff=True, is_superuser=True)
    token, browser = make_token(user), Client()
    browser.force_login(user)
    objects = existing_objects(user)
    routes = [f"/{filled(route, objects)}" for route in all_routes(get_resolver().url_patterns)]
    assert len(routes) > 40
    assert "/admin/jobs/" in routes
    request.getfixturevalue("read_only_role")
    with pytest.raises(ProgrammingError, match="permission denied"):
        User.objects.update(first_name="ghost")

    broken = {}
    for route in routes:
        for caller in (Client(), Client(headers={"Authorization": f"Token {token}"}), browser):
            for method in SAFE:
                answer = caller.generic(method, route)
                if answer.streaming:
                    list(answer.streaming_content)
                if answer.status_code >= 500:
                    broken[f"{method} {route}"] = answer.status_code
    assert broken == {}


def existing_objects(user: User) -> dict[str, Any]:
    """Values for the parts of routes in angle brackets, by name."""
    job: Job = make_job("running", user=user)
    with Run(job).text_output("a.txt") as file:
        file.write("a")
    job.succeed(None)
    message = make_message(user=user)
    digest = address_digest(message.address)
    Suppression.objects.create(digest=digest, address=message.address, reason="manual", source="ada")
    Template.objects.create(user=user, name="hello", subject="Hi", text="There")
    Stream.objects.ensure([(user.pk, "hello")])
    StreamSuppression.objects.add(user.pk, "hello", digest, message.address, "ada")
    broadcast = Broadcast.objects.create(user=user, subject="Hi", recipients=[])
    mail = {
        "token_id": new_id(),
        "message_id": message.pk,
        "broadcast_id": broadcast.pk,
        "name": "hello",
        "address": message.address,
        "provider": "mailgun",
    }
    # The admin stores a message about a missing object, and must not store it in the database either.
    return {
        "job_id": job.pk,
        "lease_id": f"{job.pk}-1",
        "object_id": job.pk,
        "pk": job.pk,
        "id": user.pk,
        "token": Link(message.pk, digest).token,
        **mail,
        **ADMIN,
    }


def all_routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from all_routes(pattern.url_patterns, route)
        elif "(" not in (route := re.sub(r"\^\(\?P<(app_label)>[^)]*\)/\$$", r"<\1>/", route)):
            yield route


def filled(route: str, objects: dict[str, Any]) -> str:
    """The route as the URL of an existing object. KeyError if a part of it has no value."""
    parts = []
    for part in route.split("/"):
        name = part.strip("<>").rpartition(":")[2]
        parts.append(str(objects[name]) if part.startswith("<") else part)
    return "/".join(parts)
