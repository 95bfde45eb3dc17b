"""Users, tokens and jobs for tests of gathered requests, and both ways to answer these."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from jobs.models import Job
from jobs.models.states import Status
from project import asgi
from project.gathering import databases
from project.models import Token
from tests.support.asgi_requests import Answer, ask
from tests.support.factories import make_error, make_job
from tests.support.timeouts import PATIENCE

Result = TypeVar("Result")

HARD_TO_WRITE = {
    "text": 'ü \u2028 \x7f \\ "',
    "numbers": [0, -1, 1.5, 1e20, 1e-9, 2**63, -(2**63)],
    "": [None, True, {}],
}


class World(NamedTuple):
    """tokens: by what is special about them. jobs: Ada's by status, and Bob's."""

    tokens: dict[str, str]
    jobs: dict[str, Job]

    def path(self, job: str) -> str:
        return f"/api/v1/jobs/{self.jobs[job].pk}/"


def make_tokens(users: dict[str, User]) -> dict[str, str]:
    User.objects.filter(pk=users["gone"].pk).update(is_active=False)
    tokens = {name: Token.objects.create(user)[1] for name, user in users.items()}
    deleted, tokens["deleted"] = Token.objects.create(users["ada"])
    deleted.delete()
    expired, tokens["expired"] = Token.objects.create(users["ada"])
    Token.objects.filter(pk=expired.pk).update(expiry=timezone.now() - timedelta(seconds=1))
    endless, tokens["endless"] = Token.objects.create(users["ada"])
    Token.objects.filter(pk=endless.pk).update(expiry=None)
    return tokens


def make_jobs(users: dict[str, User]) -> dict[str, Job]:
    # An age at which Retry-After does not change soon.
    ada: dict[str, Any] = {"user": users["ada"], "created_at": timezone.now() - timedelta(hours=1)}
    jobs = {status: make_job(status, **ada) for status in Status.values}
    jobs["bob's"] = make_job(user=users["bob"])
    jobs["with progress"] = make_job(Status.RUNNING, **ada, progress={"percent": 33.3, "message": "ü"})
    jobs["with a result"] = make_job(
        Status.SUCCEEDED, **ada, result=HARD_TO_WRITE, params={"seconds": 0, **HARD_TO_WRITE}
    )
    jobs["with a result that is text"] = make_job(Status.SUCCEEDED, **ada, result="")
    jobs["with many errors"] = make_job(Status.FAILED, **ada, errors=[make_error(f"no. {n}", n) for n in range(3)])
    jobs["with a key"] = make_job(**ada, unique_key="ü", priority=-7)
    jobs["of an early year"] = make_job(Status.SUCCEEDED, **ada | {"run_at": timezone.now().replace(year=1)})
    return jobs


def commit(change: Callable[[], Result]) -> Result:
    """Makes a change outside of the test's transaction."""
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(change).result(PATIENCE)
        finally:
            thread.submit(connections.close_all).result(PATIENCE)


class Paths:
    """Sends the same request over the gathered path and to the plain view."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plain = 0
        self._pool = asgi.pool
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(asgi, "pool", self._count)

    async def _count(self, scope: Any, receive: Any, send: Any) -> None:
        self.plain += 1
        await self._pool(scope, receive, send)

    def ask(self, *request: Any, **more: Any) -> tuple[Answer, bool]:
        """The answer, and whether it was gathered."""
        before = self.plain
        return ask(*request, **more), self.plain == before

    def ask_plainly(self, *request: Any, **more: Any) -> Answer:
        with self._monkeypatch.context() as patched:
            patched.setattr(databases, "is_possible", lambda: False)
            return ask(*request, **more)
