"""What tests of the engine start from: users, kinds of job, and Job rows in any state that the constraints allow."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from jobs import registry
from jobs.cluster import maintenance
from jobs.models import Job
from jobs.models.attempt_errors import AttemptError
from jobs.models.queue.leases import LEASE
from jobs.models.states import TERMINAL, UPCOMING, Status
from jobs.registry import Handler, Kind
from jobs.worker.attempts.outcome import error_entry
from jobs.worker.heartbeat import Heartbeat

WORKER = "here:1"
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def make_user(name: str = "ada") -> User:
    return User.objects.create_user(name)


def make_job(status: str = Status.QUEUED, **fields: Any) -> Job:
    """A stored job as the engine leaves it in this state: after one attempt by WORKER if it takes one to get there."""
    now = timezone.now()
    usual: dict[str, Any] = {"kind": "demo.countdown", "params": {"seconds": 0}, "timeout": 60}
    usual |= {"max_attempts": 3, "budget": 3, "run_at": now, "status": status, "pool": _pool(fields.get("kind", ""))}
    if status in UPCOMING:
        usual |= {"run_at": now + timedelta(hours=1)}
    if status not in {Status.SCHEDULED, Status.QUEUED}:
        usual |= {"attempt": 1, "worker": WORKER, "started_at": now}
    if status == Status.RUNNING:
        usual |= {"lease_expires_at": now + LEASE}
    if status in TERMINAL:
        usual |= {"finished_at": now, "cancel_requested": status == Status.CANCELLED}
    if status in {Status.FAILED, Status.RETRYING}:
        usual |= {"errors": [make_error()]}
    return Job.objects.create(**usual | fields)


def _pool(kind: str) -> str:
    """The pool of threads of a kind that has one."""
    with suppress(registry.UnknownKind):
        return registry.find_kind(kind).pool
    return ""


def make_error(message: str = "it broke", attempt: int = 1) -> AttemptError:
    return error_entry(RuntimeError(message), attempt)


def make_kind(monkeypatch: pytest.MonkeyPatch, handler: Handler, name: str = "test.kind", **options: Any) -> Kind:
    """A kind of job that is known until the test has ended."""
    monkeypatch.setattr(registry, "_kinds", dict(registry._kinds))
    registry.job(name, **options)(handler)
    return registry.find_kind(name)


def disconnect(heartbeat: Heartbeat) -> None:
    """Stop the heartbeat: its connection must not outlast the test database, nor its checks slow down later tests."""
    heartbeat.stop()
    heartbeat.join(60)
    assert not heartbeat.is_alive()


@contextmanager
def disconnected() -> Iterator[None]:
    """For a thread of the test that uses the database: its connection is closed at the end."""
    try:
        yield
    finally:
        connections.close_all()


@contextmanager
def clock_wrong_by(monkeypatch: pytest.MonkeyPatch, skew: timedelta) -> Iterator[None]:
    """This machine's clock is ahead of the database's by so much, or behind it."""
    right = timezone.now
    with monkeypatch.context() as patched:
        patched.setattr(timezone, "now", lambda: right() + skew)
        yield


def row(job: Job) -> dict[str, Any]:
    """Everything that the database has of it."""
    found: dict[str, Any] = Job.objects.values().get(pk=job.pk)
    return found


def do_all_chores() -> None:
    """Run all maintenance tasks, whether or not they are due."""
    for task in maintenance._tasks:
        if not isinstance(batches := task.function(), int):
            list(batches)
