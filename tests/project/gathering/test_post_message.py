"""POST mail/messages/: the gathered path answers and stores like the plain one, and leaves to it what others would wait
for."""

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.core.cache import cache

from jobs.models import Job
from mail.addresses import domains
from mail.models import Message
from tests.support.asgi_requests import Answer, Field, ask, asked
from tests.support.gathering import Paths, World, commit

pytest_plugins = ["tests.support.gathering_fixtures"]
pytestmark = pytest.mark.django_db

PATH = "/api/v1/mail/messages/"
HELLO = {"to": "Ada <ada@example.org>", "subject": "Hello", "text": "Hello, Ada."}
CHANGING = re.compile(rb"[0-9a-f-]{36}|\d{4}-\d\d-\d\dT[\d:.]+Z")
ATTACHMENT = {"filename": "a.txt", "content_type": "text/plain", "content": "aGVsbG8="}

USUAL: dict[str, dict[str, Any]] = {
    "the least": HELLO,
    "html": HELLO | {"text": None, "html": "<p>Hello</p>"},
    "critical": HELLO | {"importance": "critical", "tags": ["a"], "metadata": {"a": "ü"}, "headers": {"X-A": "b"}},
    "bulk": HELLO | {"importance": "bulk"},
    "later": HELLO | {"send_at": "2999-01-01T00:00:00Z"},
    "an attachment": HELLO | {"attachments": [ATTACHMENT], "reply_to": ["bob@example.org"]},
}
UNUSUAL: dict[str, tuple[Any, int]] = {
    "a variable": (HELLO | {"text": "Hello, {{ name }}.", "context": {"name": "Ada"}}, 202),
    "an unknown template": ({"to": "ada@example.org", "template": "no"}, 400),
    "a stream": (HELLO | {"stream": "news"}, 202),
    "a bad address": (HELLO | {"to": "ada"}, 400),
    "nothing to read": ({"to": "ada@example.org", "subject": "Hello"}, 400),
    "an unknown field": (HELLO | {"more": 1}, 400),
    "no object": ([], 400),
    "much": (HELLO | {"text": "x" * 20_000}, 202),
}


@pytest.fixture(autouse=True)
def _warm(world: World, django_db_blocker: Any) -> Iterator[None]:
    """The plain view has shown its header fields, as it does after a process's first requests."""
    with django_db_blocker.unblock():
        ask("POST", PATH, fields(world), orjson.dumps(HELLO))
        cache.clear()
        yield


def fields(world: World, of: str = "ada") -> list[Field]:
    token = f"Token {world.tokens[of]}"
    return [
        ("host", "testserver"),
        ("authorization", token),
        ("x-request-id", "x"),
        ("content-type", "application/json"),
    ]


def constant(answer: Answer) -> bytes:
    return CHANGING.sub(b"", repr(answer).encode())


def stored(answer: Answer) -> list[dict[str, Any]]:
    """The message and its job, without ids and times."""
    message_id = orjson.loads(answer.body)["id"]
    message = commit(lambda: Message.objects.values().get(pk=message_id))
    job = commit(lambda: Job.objects.values().get(pk=message["job_id"]))
    assert job["params"] == {"message": message_id}
    changing = {"id", "job_id", "params", "run_at", "created_at", "expires_at", "version"}
    return [{name: value for name, value in row.items() if name not in changing} for row in (message, job)]


@pytest.mark.parametrize("body", USUAL)
def test_a_message_is_answered_and_stored_the_same(paths: Paths, world: World, body: str) -> None:
    request = ("POST", PATH, fields(world), orjson.dumps(USUAL[body]))
    answer, gathered = paths.ask(*request)
    cache.clear()
    plain = paths.ask_plainly(*request)
    assert (answer.status, gathered) == (202, True)
    assert constant(answer) == constant(plain)
    assert stored(answer) == stored(plain)


@pytest.mark.parametrize("body", UNUSUAL)
def test_an_unusual_message_is_judged_by_the_plain_view(paths: Paths, world: World, body: str) -> None:
    content, status = UNUSUAL[body]
    answer, gathered = paths.ask("POST", PATH, fields(world), orjson.dumps(content))
    cache.clear()
    assert constant(answer) == constant(paths.ask_plainly("POST", PATH, fields(world), orjson.dumps(content)))
    assert (answer.status, gathered) == (status, False)


def test_a_message_that_needs_dns_is_left_to_the_plain_view(
    paths: Paths, world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAIL_CHECK_DNS = True
    verdicts = {"known.example": (time.monotonic() + 600, None), "refuses.example": (time.monotonic() + 600, "No.")}
    monkeypatch.setattr(domains, "_verdicts", verdicts)
    monkeypatch.setattr(domains, "_verdict", lambda domain: None)

    def post(to: str) -> tuple[int, bool]:
        answer, gathered = paths.ask("POST", PATH, fields(world), orjson.dumps(HELLO | {"to": to}))
        return answer.status, gathered

    assert post("ada@known.example") == (202, True)
    assert post("ada@new.example") == (202, False)
    assert post("ada@refuses.example") == (400, False)


def test_messages_of_a_batch_do_not_affect_each_other(world: World) -> None:
    bodies = [HELLO | {"subject": str(number)} for number in range(10)] + [UNUSUAL["a bad address"][0]]

    async def post_all() -> list[Answer]:
        sent = [(of, orjson.dumps(body)) for body in bodies for of in ("ada", "expired")]
        return await asyncio.gather(*[asked("POST", PATH, fields(world, of), body) for of, body in sent])

    answers = asyncio.run(post_all())
    assert [answer.status for answer in answers] == [202, 401] * 10 + [400, 401]
    subjects = [orjson.loads(answer.body)["subject"] for answer in answers if answer.status == 202]
    assert subjects == [str(number) for number in range(10)]
