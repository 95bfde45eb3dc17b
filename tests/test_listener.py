"""How a waiting worker is told of new jobs: at once, but not of each in a burst, for it looks twice."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction

from jobs import wakeup
from tests.make import make_job

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL tells; elsewhere workers poll."),
]

LONG = 60.0
"""Seconds: a wait that is cut short ends long before."""


@pytest.fixture(autouse=True)
def _nobody_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeup, "_look_again_at", None)


@pytest.fixture
def ear() -> Iterator[Any]:
    """Another session that listens."""
    session = psycopg2.connect(**connection.get_connection_params())
    session.autocommit = True
    session.cursor().execute(f"LISTEN {wakeup.CHANNEL}")
    yield session
    session.close()


def heard(ear: Any) -> int:
    ear.cursor().execute("SELECT 1")
    count = len(ear.notifies)
    ear.notifies.clear()
    return count


def pause() -> None:
    """Past the silence that follows a notification."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [wakeup.LOOK_AGAIN])


def seconds_waited() -> float:
    began = time.monotonic()
    wakeup.wait(LONG)
    return time.monotonic() - began


def test_who_waits_is_told_of_a_job() -> None:
    wakeup.wait(0)
    make_job()
    assert seconds_waited() < LONG / 2


def test_who_was_told_looks_again_soon_and_then_waits_as_usual() -> None:
    wakeup.wait(0)
    make_job()
    wakeup.wait(LONG)
    assert seconds_waited() < LONG / 2
    began = time.monotonic()
    wakeup.wait(0.1)
    assert time.monotonic() - began >= 0.1


def test_who_was_busy_when_it_should_have_looked_again_does_so_as_soon_as_it_waits() -> None:
    wakeup.wait(0)
    make_job()
    wakeup.wait(LONG)
    pause()
    assert seconds_waited() < LONG / 2


def test_jobs_apart_from_each_other_are_each_told_of(ear: Any) -> None:
    for _ in range(3):
        pause()
        make_job()
        assert heard(ear) == 1


def test_a_job_right_after_another_is_told_of_by_the_first(ear: Any) -> None:
    pause()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('legwork.silent_until', (now() + interval '1 h')::text, false)")
    make_job()
    assert heard(ear) == 0


def test_what_a_transaction_inserts_is_told_of_whatever_came_before_it(ear: Any) -> None:
    make_job()
    heard(ear)
    with transaction.atomic():
        make_job()
        make_job()
    assert heard(ear) == 1


def test_a_notification_that_was_rolled_back_silences_nobody(ear: Any) -> None:
    pause()
    with transaction.atomic():
        make_job()
        transaction.set_rollback(True)
    make_job()
    assert heard(ear) == 1
