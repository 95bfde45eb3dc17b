"""Does the process live, and can it serve? Asked with any Host, answered in bounded time."""

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from demo.eventually import eventually
from project import health
from tests.support.timeouts import PATIENCE


@pytest.fixture(autouse=True)
def _unknowing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has not checked its migrations yet, and has time to do so."""
    monkeypatch.setattr(health, "DATABASE_SECONDS", 60)
    monkeypatch.setattr(health, "_database_check", health.DatabaseCheck())
    health._migrated.clear()
    yield
    health._migrated.clear()


def test_health_is_answered_for_any_host(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["legwork.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    for host in ("10.0.0.1", "evil.example.org", "no host", ""):
        answer = Client().get("/healthz", headers={"Host": host})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert Client().get("/readyz", headers={"Host": host}).status_code == 200


def test_healthz_touches_no_database_and_no_session() -> None:
    answer = Client(headers={"Cookie": "sessionid=x"}).get("/healthz")
    assert not answer.cookies
    assert "X-Request-ID" in answer


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_only_read(path: str) -> None:
    answer = Client(enforce_csrf_checks=True).post(path)
    assert answer.status_code == 405
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Allow"] == "GET, HEAD"


@pytest.mark.django_db(transaction=True)
def test_a_process_with_its_database_and_migrations_is_ready() -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"database": "ok", "migrations": "ok"}}


@pytest.mark.django_db(transaction=True)
def test_missing_migrations_make_an_instance_unavailable() -> None:
    MigrationRecorder(connection).record_unapplied("project", "0001_initial")
    try:
        answer = Client().get("/readyz")
    finally:
        MigrationRecorder(connection).record_applied("project", "0001_initial")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "checks": {"database": "ok", "migrations": "missing"}}
    assert Client().get("/readyz").status_code == 200


def test_a_database_that_is_away_degrades_every_instance_and_puts_none_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> health.Checks:
        raise OperationalError("secret")

    monkeypatch.setattr(health, "_check_database", away)
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "checks": {"database": "unreachable", "migrations": "unknown"}}


def test_a_database_that_hangs_is_waited_for_a_bounded_time_and_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, database_is_back = [], Event()

    def hanging() -> health.Checks:
        asked.append(1)
        assert database_is_back.wait(60)
        return {"database": "ok", "migrations": "ok"}

    monkeypatch.setattr(health, "_check_database", hanging)
    monkeypatch.setattr(health, "DATABASE_SECONDS", 0.05)
    assert [Client().get("/readyz").json()["status"] for _ in range(3)] == ["degraded"] * 3
    eventually(lambda: asked, PATIENCE, "the question")
    assert asked == [1]
    database_is_back.set()
    assert health._database_check.done.wait(60)
    assert health._database_check.checks == {"database": "ok", "migrations": "ok"}
