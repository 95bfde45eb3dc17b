"""GET jobs/{id}/: the gathered path answers like the plain one, byte by byte, and leaves to it what is unusual."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import InternalError, connection
from structlog.testing import capture_logs

from project.gathering import databases, read_job
from project.models import Token
from tests.support.asgi_requests import Answer, Field, ask, asked
from tests.support.gathering import Paths, World, commit

pytest_plugins = ["tests.support.gathering_fixtures"]
pytestmark = pytest.mark.django_db

UNUSUAL = {
    "a cookie": ("cookie", "sessionid=x"),
    "a preference": ("prefer", "wait=1"),
    "another condition": ("if-modified-since", "Thu, 26 Nov 2026 09:15:23 GMT"),
    "a range": ("range", "bytes=0-1"),
    "any ETag": ("if-none-match", "*"),
    "several ETags": ("if-none-match", '"a", "b"'),
    "an ETag without quotes": ("if-none-match", "abc"),
}


@pytest.fixture(autouse=True)
def _warm(world: World, django_db_blocker: Any) -> Iterator[None]:
    """The plain view has shown its header fields, as it does after a process's first requests."""
    with django_db_blocker.unblock():
        etag = ask("GET", world.path("queued"), fields(world)).field("etag")
        ask("GET", world.path("queued"), [*fields(world), ("if-none-match", str(etag))])
        cache.clear()
        yield


def fields(world: World, of: str = "ada", **more: str) -> list[Field]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return [
        ("host", "testserver"),
        ("authorization", f"Token {world.tokens[of]}"),
        ("x-request-id", "x"),
        *named.items(),
    ]


def both(paths: Paths, path: str, headers: list[Field], **more: Any) -> tuple[Answer, bool]:
    """The answer, which is the same on both paths, and whether it was gathered."""
    answer, gathered = paths.ask("GET", path, headers, **more)
    cache.clear()
    assert answer == paths.ask_plainly("GET", path, headers, **more)
    return answer, gathered


# --- the same answers ---------------------------------------------------------------------------------------------


def test_every_job_is_answered_the_same(paths: Paths, world: World) -> None:
    for name in world.jobs.keys() - {"bob's"}:
        cache.clear()
        answer, gathered = both(paths, world.path(name), fields(world))
        assert (answer.status, gathered) == (200, True), name


@pytest.mark.parametrize("form", ["{}", "W/{}"])
def test_a_known_etag_is_answered_by_the_same_304(paths: Paths, world: World, form: str) -> None:
    for name in ("queued", "running", "with a result"):
        cache.clear()
        etag = ask("GET", world.path(name), fields(world)).field("etag")
        cache.clear()
        answer, gathered = both(paths, world.path(name), fields(world, if_none_match=form.format(etag)))
        assert (answer.status, answer.body, gathered) == (304, b"", True)
        assert answer.field("etag") == etag
        assert answer.field("content-length") is None, "RFC 9110, 8.6: it would be the length of the 200's body"


@pytest.mark.parametrize("etag", ['"0123456789abcdef"', '"of something else"', '""'])
def test_another_etag_is_answered_by_the_same_200(paths: Paths, world: World, etag: str) -> None:
    answer, gathered = both(paths, world.path("queued"), fields(world, if_none_match=etag))
    assert answer.status == 200
    assert gathered is (" " not in etag)


@pytest.mark.parametrize("given", ["my.id_1-2", "not sane!", "x" * 129])
def test_a_request_id_is_treated_the_same(paths: Paths, world: World, given: str) -> None:
    sent = [*fields(world)[:2], ("x-request-id", given)]
    gathered, plain = ask("GET", world.path("queued"), sent), paths.ask_plainly("GET", world.path("queued"), sent)
    for answer in (gathered, plain):
        shown = str(answer.field("x-request-id"))
        assert shown == given or re.fullmatch("[0-9a-f]{32}", shown)
    assert (gathered.field("x-request-id") == given) is (plain.field("x-request-id") == given)


def test_urls_have_the_origin_of_the_request_on_both_paths(paths: Paths, world: World) -> None:
    named = [("host", "other.example:81"), *fields(world)[1:]]
    assert not paths.ask("GET", world.path("queued"), named)[1]
    cache.clear()
    answer, gathered = both(paths, world.path("queued"), named)
    assert gathered
    assert b'"http://other.example:81/api/v1/jobs/' in answer.body


def test_a_forbidden_host_is_refused_every_time(paths: Paths, world: World, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    for _ in range(2):
        cache.clear()
        answer, gathered = both(paths, world.path("queued"), [("host", "evil.example"), *fields(world)[1:]])
        assert (answer.status, gathered) == (400, False)


def test_requests_count_against_the_same_limit(paths: Paths, world: World, settings: Any) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 3
    answers = [ask("GET", world.path("queued"), fields(world)) for _ in range(3)]
    assert [answer.field("ratelimit") for answer in answers] == [f'"default";r={left};t=60' for left in (2, 1, 0)]
    refused, gathered = paths.ask("GET", world.path("queued"), fields(world))
    assert (refused.status, gathered) == (429, False)
    assert refused == paths.ask_plainly("GET", world.path("queued"), fields(world))
    assert ask("GET", world.path("bob's"), fields(world, "bob")).status == 200


# --- what is left to the plain view -----------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["deleted", "expired", "gone"])
def test_a_token_that_has_ended_is_refused(paths: Paths, world: World, token: str) -> None:
    answer, gathered = both(paths, world.path("queued"), fields(world, token))
    assert (answer.status, answer.field("www-authenticate"), gathered) == (401, "Token", False)


def test_a_token_without_an_end_is_valid(paths: Paths, world: World) -> None:
    answer, gathered = both(paths, world.path("queued"), fields(world, "endless"))
    assert (answer.status, gathered) == (200, True)


@pytest.mark.parametrize(
    "words", ["", "Token", "Token a b", "Bearer {}", "Token {}x", "Token ä", "Basic YTpi", "TOKEN {}"]
)
def test_other_credentials_are_judged_by_the_plain_view(paths: Paths, world: World, words: str) -> None:
    sent = [("host", "testserver"), ("authorization", words.format(world.tokens["ada"])), ("x-request-id", "x")]
    answer, gathered = both(paths, world.path("queued"), sent)
    assert (answer.status, gathered) == (200 if words == "TOKEN {}" else 401, False)


def test_access_ends_at_once_with_the_token_and_with_the_account(world: World) -> None:
    bob = world.jobs["bob's"].user
    assert bob
    record, key = commit(lambda: Token.objects.create(bob))
    sent = [("host", "testserver"), ("authorization", f"Token {key}")]
    statuses = [ask("GET", world.path("bob's"), sent).status]
    for active in (False, True):
        commit(lambda active=active: User.objects.filter(pk=bob.pk).update(is_active=active))
        statuses.append(ask("GET", world.path("bob's"), sent).status)
    commit(record.delete)
    statuses.append(ask("GET", world.path("bob's"), sent).status)
    assert statuses == [200, 401, 200, 401]


def test_another_users_job_and_a_job_that_does_not_exist_are_404(paths: Paths, world: World) -> None:
    for job in (world.jobs["bob's"].pk, uuid4(), str(world.jobs["queued"].pk).upper()):
        cache.clear()
        answer, gathered = both(paths, f"/api/v1/jobs/{job}/", fields(world))
        assert (answer.status, gathered) == (404, False)


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_field_is_left_to_the_plain_view(paths: Paths, world: World, name: str) -> None:
    assert not both(paths, world.path("queued"), [*fields(world), UNUSUAL[name]])[1]


@pytest.mark.parametrize("more", [{"query_string": b"a=1"}, {"query_string": b"page_size=1"}, {"root_path": "/x"}])
def test_a_query_or_a_prefix_is_left_to_the_plain_view(paths: Paths, world: World, more: dict[str, Any]) -> None:
    assert not both(paths, world.path("queued"), fields(world), **more)[1]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH"])
def test_other_methods_are_left_to_the_plain_view(paths: Paths, world: World, method: str) -> None:
    assert not paths.ask(method, world.path("queued"), fields(world))[1]


# --- together ---------------------------------------------------------------------------------------------------


def test_each_of_many_gets_its_own_answer(world: World) -> None:
    """Good and bad ones, whose statement is the same."""
    expected = {("ada", "queued"): 200, ("bob", "bob's"): 200, ("ada", "bob's"): 404, ("bob", "queued"): 404}
    expected |= {("expired", "queued"): 401, ("gone", "queued"): 401, ("ada", "succeeded"): 200}
    cases = [*expected] * 5

    async def ask_all() -> list[Answer]:
        return await asyncio.gather(*[asked("GET", world.path(job), fields(world, token)) for token, job in cases])

    for (token, job), answer in zip(cases, asyncio.run(ask_all()), strict=True):
        assert answer.status == expected[token, job]
        assert (str(world.jobs[job].pk).encode() in answer.body.split(b'"instance"')[0]) is (answer.status == 200)


def test_each_of_many_counts_against_the_limit(world: World, settings: Any) -> None:
    async def ask_all() -> list[Answer]:
        return await asyncio.gather(*[asked("GET", world.path("queued"), fields(world)) for _ in range(5)])

    left = sorted(str(answer.field("ratelimit")).split(";")[1] for answer in asyncio.run(ask_all()))
    assert left == sorted(f"r={settings.RATE_LIMIT_PER_MINUTE - count}" for count in range(1, 6))


# --- the database -----------------------------------------------------------------------------------------------


def test_a_gathered_statement_cannot_write(world: World) -> None:
    with pytest.raises(InternalError, match="read-only transaction"):
        commit(lambda: databases.read("UPDATE jobs_job SET priority = 0 RETURNING 1 AS number", [()]))


def test_a_connection_that_was_cut_is_replaced_unnoticed(paths: Paths, world: World) -> None:
    assert paths.ask("GET", world.path("queued"), fields(world))[1]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'EXECUTE legwork_%' AND pid <> pg_backend_pid()"
        )
        assert cursor.rowcount
    assert paths.ask("GET", world.path("queued"), fields(world))[1]


def test_a_statement_that_fails_leaves_its_requests_to_the_plain_view(
    paths: Paths, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_job, "STATEMENT", "SELECT 1 / 0")
    answer, gathered = paths.ask("GET", world.path("queued"), fields(world))
    assert (answer.status, gathered) == (200, False)


def test_a_gathered_request_is_logged_with_its_client(paths: Paths, world: World) -> None:
    forged = [("x_request_id", "forged"), ("x_forwarded_for", "198.51.100.1")]
    with capture_logs() as logs:
        _, gathered = paths.ask("GET", world.path("queued"), [*fields(world), *forged])
    [line] = [line for line in logs if line["event"] == "request"]
    assert gathered
    assert (line["client"], line["request_id"], line["status"]) == ("192.0.2.0", "x", 200)
