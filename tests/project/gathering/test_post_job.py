"""POST jobs/: the gathered path answers and stores like the plain one, and no request touches its neighbours."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.db import OperationalError
from rest_framework.exceptions import ValidationError
from structlog.testing import capture_logs

from jobs import registry
from jobs.models import Job
from project.gathering import post_job, posting
from rest.models import IdempotencyKey
from tests.support.asgi_requests import Answer, Field, ask, asked
from tests.support.factories import make_kind
from tests.support.gathering import Paths, World, commit

pytest_plugins = ["tests.support.gathering_fixtures"]
pytestmark = pytest.mark.django_db

PATH = "/api/v1/jobs/"
COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 0}}
CHANGING = re.compile(rb"[0-9a-f-]{36}|\d{4}-\d\d-\d\dT[\d:.]+Z")

USUAL: dict[str, dict[str, Any]] = {
    "the least": COUNTDOWN,
    "all that is left empty": COUNTDOWN
    | dict.fromkeys(["run_at", "priority", "timeout", "max_attempts", "unique_key"]),
    "everything": COUNTDOWN | {"priority": -7, "timeout": 30, "max_attempts": 9},
    "a moment that has passed": COUNTDOWN | {"run_at": "2001-01-01T00:00:00Z"},
    "text that is hard to write": {
        "kind": "http.request",
        "params": {"url": "http://example.org/", "json": {'"\\{},\n': ["ü\u2028", "NULL", None, 1.5, {}]}},
    },
}
UNUSUAL: dict[str, tuple[bytes, int]] = {
    "no JSON": (b"{", 400),
    "no object": (b"[]", 400),
    "nothing": (b"", 400),
    "a NUL": (b'{"kind": "demo.countdown\\u0000"}', 400),
    "depth": (b"[" * 200 + b"]" * 200, 400),
    "an unknown field": (orjson.dumps(COUNTDOWN | {"more": 1}), 400),
    "an unknown kind": (b'{"kind": "no.such"}', 400),
    "a kind of our own": (b'{"kind": "mail.send", "params": {}}', 400),
    "bad params": (b'{"kind": "demo.countdown", "params": {"seconds": -1}}', 400),
    "a time ahead": (orjson.dumps(COUNTDOWN | {"run_at": "2999-01-01T00:00:00Z"}), 202),
    "much": (orjson.dumps({"kind": "http.request", "params": {"url": "http://a.example/", "json": "x" * 20_000}}), 202),
}
UNUSUAL_FIELDS = {
    "a key that is not valid": ("idempotency-key", "ü"),
    "a preference": ("prefer", "respond-async"),
    "a cookie": ("cookie", "sessionid=x"),
    "a condition": ("if-none-match", "*"),
    "a second type": ("content-type", "application/json"),
}


@pytest.fixture(autouse=True)
def _warm(world: World, django_db_blocker: Any) -> Iterator[None]:
    """The plain view has shown its header fields, as it does after a process's first requests."""
    with django_db_blocker.unblock():
        post(world, COUNTDOWN)
        cache.clear()
        yield


def fields(world: World, of: str = "ada", content_type: str = "application/json") -> list[Field]:
    token = f"Token {world.tokens[of]}"
    return [("host", "testserver"), ("authorization", token), ("x-request-id", "x"), ("content-type", content_type)]


def post(world: World, body: Any, of: str = "ada", **more: Any) -> Answer:
    return ask("POST", PATH, fields(world, of), orjson.dumps(body), **more)


def same_but_for_ids_and_times(one: Answer, other: Answer) -> bool:
    return [CHANGING.sub(b"", repr(answer).encode()) for answer in (one, other)].count(
        CHANGING.sub(b"", repr(one).encode())
    ) == 2


def stored(answer: Answer) -> dict[str, Any]:
    job_id = orjson.loads(answer.body)["id"]
    row: dict[str, Any] = commit(lambda: Job.objects.values().get(pk=job_id))
    changing = ("id", "run_at", "created_at", "version")
    assert row["run_at"] == row["created_at"]
    return {name: value for name, value in row.items() if name not in changing}


@pytest.mark.parametrize("body", USUAL)
def test_a_job_is_answered_and_stored_the_same(paths: Paths, world: World, body: str) -> None:
    request = ("POST", PATH, fields(world), orjson.dumps(USUAL[body]))
    answer, gathered = paths.ask(*request)
    cache.clear()
    plain = paths.ask_plainly(*request)
    assert (answer.status, gathered) == (202, True)
    assert same_but_for_ids_and_times(answer, plain)
    assert stored(answer) == stored(plain)


def test_the_answer_is_the_job(world: World) -> None:
    answer = post(world, COUNTDOWN)
    shown = ask("GET", f"{PATH}{orjson.loads(answer.body)['id']}/", fields(world)[:3])
    assert orjson.loads(shown.body) == orjson.loads(answer.body)
    assert answer.field("location") == orjson.loads(answer.body)["url"]


@pytest.mark.parametrize("body", UNUSUAL)
def test_an_unusual_body_is_judged_by_the_plain_view(paths: Paths, world: World, body: str) -> None:
    text, status = UNUSUAL[body]
    answer, gathered = paths.ask("POST", PATH, fields(world), text)
    cache.clear()
    assert same_but_for_ids_and_times(answer, paths.ask_plainly("POST", PATH, fields(world), text))
    assert (answer.status, gathered) == (status, False)


@pytest.mark.parametrize("name", UNUSUAL_FIELDS)
def test_an_unusual_field_is_left_to_the_plain_view(paths: Paths, world: World, name: str) -> None:
    sent = [*fields(world), UNUSUAL_FIELDS[name]]
    assert not paths.ask("POST", PATH, sent, orjson.dumps(COUNTDOWN))[1]


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=latin-1", "application/jsonx"])
def test_another_content_type_is_left_to_the_plain_view(paths: Paths, world: World, content_type: str) -> None:
    sent = fields(world, content_type=content_type)
    answer, gathered = paths.ask("POST", PATH, sent, orjson.dumps(COUNTDOWN))
    assert (answer.status, gathered) == (202 if "charset" in content_type else 415, False)


def test_a_body_without_a_content_type_is_left_to_the_plain_view(paths: Paths, world: World) -> None:
    sent = [field for field in fields(world) if field[0] != "content-type"]
    answer, gathered = paths.ask("POST", PATH, sent, orjson.dumps(COUNTDOWN))
    assert (answer.status, gathered) == (415, False)


@pytest.mark.parametrize("token", ["deleted", "expired", "gone"])
def test_a_token_that_has_ended_stores_nothing(paths: Paths, world: World, token: str) -> None:
    before = commit(Job.objects.count)
    answer, gathered = paths.ask("POST", PATH, fields(world, token), orjson.dumps(COUNTDOWN))
    assert (answer.status, gathered, commit(Job.objects.count)) == (401, False, before)


# --- Idempotency-Key ----------------------------------------------------------------------------------------------


def post_with_key(paths: Paths, world: World, key: str, body: Any = COUNTDOWN, of: str = "ada") -> tuple[Answer, bool]:
    return paths.ask("POST", PATH, [*fields(world, of), ("idempotency-key", key)], orjson.dumps(body))


@pytest.mark.parametrize("key", ["8e03978e-40d5", '"in quotes"', "with a space"])
def test_the_first_use_of_a_key_is_gathered_and_every_other_gets_its_answer(
    paths: Paths, world: World, key: str
) -> None:
    first, gathered = post_with_key(paths, world, key)
    again, replayed_by_gathering = post_with_key(paths, world, key)
    assert (first.status, gathered) == (202, True)
    assert (again.status, again.body, replayed_by_gathering) == (202, first.body, False)
    assert (first.field("idempotency-replayed"), again.field("idempotency-replayed")) == (None, "true")
    for name in ("location", "retry-after", "content-type"):
        assert again.field(name) == first.field(name)
    assert commit(lambda: Job.objects.filter(pk=orjson.loads(first.body)["id"]).count()) == 1


def test_a_key_is_stored_as_the_plain_view_stores_it(paths: Paths, world: World) -> None:
    with_keys = [[*fields(world), ("idempotency-key", key)] for key in ("gathered", "plain")]
    body = orjson.dumps(COUNTDOWN | {"priority": 3})
    assert paths.ask("POST", PATH, with_keys[0], body)[1]
    paths.ask_plainly("POST", PATH, with_keys[1], body)
    keys = commit(lambda: [IdempotencyKey.objects.values().get(key=key) for key in ("gathered", "plain")])
    for row in keys:
        row |= {"headers": sorted(row["headers"]), "body": sorted(orjson.loads(row["body"]))}
    assert [{**row, "id": 0, "key": "", "created_at": None} for row in keys].count(
        {**keys[0], "id": 0, "key": "", "created_at": None}
    ) == 2


def test_a_key_of_another_payload_or_another_user(paths: Paths, world: World) -> None:
    assert post_with_key(paths, world, "mine")[0].status == 202
    assert post_with_key(paths, world, "mine", COUNTDOWN | {"priority": 1})[0].status == 422
    assert post_with_key(paths, world, "mine", of="bob")[0].field("idempotency-replayed") is None


def test_posts_with_one_key_at_the_same_time_store_one_job(world: World) -> None:
    sent = [*fields(world), ("idempotency-key", "at the same time")]

    async def post_all() -> list[Answer]:
        return await asyncio.gather(*[asked("POST", PATH, sent, orjson.dumps(COUNTDOWN)) for _ in range(12)])

    before = commit(Job.objects.count)
    answers = asyncio.run(post_all())
    assert {(answer.status, answer.body) for answer in answers} == {(202, answers[0].body)}
    assert commit(Job.objects.count) == before + 1


def test_a_key_that_another_transaction_uses_is_a_conflict_and_holds_up_nobody(paths: Paths, world: World) -> None:
    """This test's own transaction has inserted it and is not committed."""
    ada = world.jobs["queued"].user
    IdempotencyKey.objects.create(user=ada, key="in use", fingerprint="x")
    with capture_logs() as logs:
        answer, gathered = post_with_key(paths, world, "in use")
    assert (answer.status, gathered) == (409, False)
    assert "gathering_failed" not in [line["event"] for line in logs]
    assert b"idempotency_key_in_use" in answer.body


def test_a_refused_post_leaves_its_key_unused(paths: Paths, world: World) -> None:
    assert post_with_key(paths, world, "once more", {"kind": "no.such"})[0].status == 400
    answer, gathered = post_with_key(paths, world, "once more")
    assert (answer.status, answer.field("idempotency-replayed"), gathered) == (202, None, True)


def test_a_taken_unique_key_is_a_conflict_every_time(world: World) -> None:
    body = COUNTDOWN | {"unique_key": "nightly", "run_at": "2999-01-01T00:00:00Z"}
    assert [post(world, body).status for _ in range(3)] == [202, 409, 409]


def test_requests_of_a_batch_do_not_affect_each_other(world: World) -> None:
    bodies = [orjson.dumps(COUNTDOWN | {"priority": number}) for number in range(20)]
    bad = [UNUSUAL[name][0] for name in ("no JSON", "an unknown kind", "bad params")]

    async def post_all() -> list[Answer]:
        sent = [(of, body) for body in bodies + bad for of in ("ada", "bob", "expired")]
        return await asyncio.gather(*[asked("POST", PATH, fields(world, of), body) for of, body in sent])

    answers = iter(asyncio.run(post_all()))
    jobs = {job.pk: job for job in commit(lambda: list(Job.objects.select_related("user")))}
    for number in range(20):
        for of in ("ada", "bob"):
            answer = orjson.loads(next(answers).body)
            job = next(job for job in jobs.values() if str(job.pk) == answer["id"])
            assert (answer["priority"], job.priority, job.user and job.user.username) == (number, number, of)
        assert next(answers).status == 401
    assert [answer.status for answer in answers] == [400, 400, 401] * 3


def test_a_validation_that_raises_fails_only_its_own_request(
    paths: Paths, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(registry.NoParams):
        def validate(self, params: Any) -> Any:
            raise KeyError("secret")

    make_kind(monkeypatch, lambda run: None, "test.broken", params=Broken)

    async def post_both() -> list[Answer]:
        bodies = [orjson.dumps({"kind": "test.broken"}), orjson.dumps(COUNTDOWN)]
        return await asyncio.gather(*[asked("POST", PATH, fields(world), body) for body in bodies])

    assert [answer.status for answer in asyncio.run(post_both())] == [500, 202]


def test_requests_count_against_the_same_limit(paths: Paths, world: World, settings: Any) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 2
    answers = [post(world, COUNTDOWN) for _ in range(3)]
    assert [answer.status for answer in answers] == [202, 202, 429]
    assert [answer.field("ratelimit") for answer in answers] == [f'"default";r={left};t=60' for left in (1, 0, 0)]


def test_a_database_that_goes_away_is_503_and_nothing_is_stored_twice(
    paths: Paths, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unknown whether the first try was committed: the plain view must not try again."""

    def commit_and_lose_the_answer(jobs: list[Job]) -> None:
        store_many(jobs)
        raise OperationalError("server closed the connection unexpectedly")

    store_many = post_job.store_many
    monkeypatch.setattr(post_job, "store_many", commit_and_lose_the_answer)
    before = commit(Job.objects.count)
    answer, gathered = paths.ask("POST", PATH, fields(world), orjson.dumps(COUNTDOWN))
    assert (answer.status, gathered) == (503, True)
    assert answer.field("content-type") == "application/problem+json"
    assert answer.field("retry-after") == "5"
    assert answer.field("x-request-id") == "x"
    assert commit(Job.objects.count) == before + 1


def test_an_insert_that_the_database_refuses_is_left_to_the_plain_view(
    paths: Paths, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(jobs: list[Job]) -> None:
        raise ValidationError

    monkeypatch.setattr(post_job, "store_many", refuse)
    answer, gathered = paths.ask("POST", PATH, fields(world), orjson.dumps(COUNTDOWN))
    assert (answer.status, gathered) == (202, False)


def test_a_gathered_post_records_the_write_of_its_user(
    world: World, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    recorded: list[set[int]] = []
    monkeypatch.setattr(posting, "record_writes", recorded.append)
    monkeypatch.setattr(settings, "REPLICAS", {"replica1": {}})
    monkeypatch.setattr(posting.databases.probe.background_probe, "ensure_started", lambda: None)
    ada = world.jobs["queued"].user
    assert ada
    assert post(world, COUNTDOWN).status == 202
    assert recorded == [{ada.pk}]
