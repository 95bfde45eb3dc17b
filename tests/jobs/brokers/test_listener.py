"""How a waiting worker is told of new jobs: at once, but once for a burst, because it looks again soon after."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction

from demo.eventually import eventually
from jobs.brokers import listener as listener_module
from jobs.brokers.listener import CHANNEL, RECHECK_AFTER, Listener
from tests.support.factories import make_job

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL tells; elsewhere workers poll."),
]

SOON = LONG = 60.0
"""Seconds: a wait that is cut short ends long before."""
LISTENING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query IN (%s, 'SELECT 1')"
"""The backend of the listener: its last statement was LISTEN or, once KEEPALIVE has passed, SELECT 1."""


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A listener that listens already, and whose next wait finds nothing."""
    monkeypatch.setattr(listener_module, "KEEPALIVE", 0.05)
    monkeypatch.setattr(listener_module, "RECONNECT_AFTER", 0.01)
    monkeypatch.setattr(listener_module, "READ_EVERY", 0.01)
    listener = Listener()
    listener.wait(LONG)  # the first one ends as soon as it listens
    listener.wait(0)
    yield listener
    listener.stop()
    listener.join(SOON)
    assert not listener.is_alive()


@pytest.fixture
def ear() -> Iterator[Any]:
    """Another session that listens."""
    session = psycopg2.connect(**connection.get_connection_params())
    session.autocommit = True
    session.cursor().execute(f"LISTEN {CHANNEL} -- as a test")
    yield session
    session.close()


def heard(ear: Any) -> int:
    ear.cursor().execute("SELECT 1")
    count = len(ear.notifies)
    ear.notifies.clear()
    return count


def ask(query: str, *values: object) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return [value for (value,) in cursor.fetchall()]


def pause() -> None:
    """Wait until the silence that follows a notification is over."""
    ask("SELECT pg_sleep(%s) IS NULL", RECHECK_AFTER)


def seconds(wait: Callable[[], object]) -> float:
    began = time.monotonic()
    wait()
    return time.monotonic() - began


def test_a_waiting_worker_is_told_of_a_job(listener: Listener) -> None:
    make_job()
    assert seconds(lambda: listener.wait(LONG)) < LONG / 2


def test_a_wait_without_jobs_takes_its_whole_time(listener: Listener) -> None:
    assert seconds(lambda: listener.wait(0.1)) >= 0.1


def test_a_worker_that_was_told_looks_again_soon_and_then_waits_as_usual(listener: Listener) -> None:
    make_job()
    listener.wait(LONG)
    assert seconds(lambda: listener.wait(LONG)) < LONG / 2
    assert seconds(lambda: listener.wait(0.1)) >= 0.1


def test_a_worker_that_was_busy_looks_again_as_soon_as_it_waits(listener: Listener) -> None:
    make_job()
    listener.wait(LONG)
    pause()
    assert seconds(lambda: listener.wait(LONG)) < LONG / 2


def test_a_notification_while_nobody_waits_ends_the_next_wait(listener: Listener) -> None:
    make_job()
    eventually(lambda: listener._notified, SOON)
    assert seconds(lambda: listener.wait(LONG)) < LONG / 2


def test_notifications_are_read_while_nobody_waits(listener: Listener) -> None:
    """Unread, these would fill the sockets, and the server would wait for us with its snapshot held."""
    [server] = ask(LISTENING, f"LISTEN {CHANNEL}")
    for _ in range(50):
        ask("SELECT count(pg_notify(%s, n || repeat('x', 7900))) FROM generate_series(1, 20) AS n", CHANNEL)
    at_rest = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'ClientRead'"
    eventually(lambda: ask(at_rest, server) and ask("SELECT pg_notification_queue_usage()") == [0], SOON)


def test_a_connection_that_was_cut_is_made_anew_and_the_worker_looks_at_once(listener: Listener) -> None:
    [first] = ask(LISTENING, f"LISTEN {CHANNEL}")
    ask("SELECT pg_terminate_backend(%s)", first)
    assert seconds(lambda: listener.wait(LONG)) < LONG / 2
    listener.wait(LONG)  # ends for the second look
    [second] = ask(LISTENING, f"LISTEN {CHANNEL}")
    assert second != first
    make_job()
    assert seconds(lambda: listener.wait(LONG)) < LONG / 2


def test_a_server_that_cannot_be_reached_is_tried_again_and_delays_nobody(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, tries = psycopg2.connect, []

    def refuse_three_times(**params: Any) -> Any:
        if threading.current_thread() is not listener:
            return connect(**params)
        tries.append(True)
        if len(tries) <= 3:
            raise psycopg2.OperationalError("connection refused")
        return connect(**params)

    monkeypatch.setattr(listener_module.psycopg2, "connect", refuse_three_times)
    [first] = ask(LISTENING, f"LISTEN {CHANNEL}")
    ask("SELECT pg_terminate_backend(%s)", first)
    eventually(lambda: len(tries) > 3, SOON)
    assert seconds(lambda: listener.wait(LONG)) < LONG / 2


def test_its_connection_is_not_that_of_the_worker(listener: Listener) -> None:
    with transaction.atomic():
        make_job()
        assert seconds(lambda: listener.wait(0.1)) >= 0.1  # it has not been committed
    assert seconds(lambda: listener.wait(LONG)) < LONG / 2


def test_jobs_that_come_one_by_one_are_notified_one_by_one(ear: Any) -> None:
    for _ in range(3):
        pause()
        make_job()
        assert heard(ear) == 1


def test_a_job_right_after_another_is_not_notified_again(ear: Any) -> None:
    pause()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('legwork.silent_until', (now() + interval '1 h')::text, false)")
    make_job()
    assert heard(ear) == 0


def test_the_jobs_of_a_transaction_are_notified_even_right_after_another_job(ear: Any) -> None:
    make_job()
    heard(ear)
    with transaction.atomic():
        make_job()
        make_job()
    assert heard(ear) == 1


def test_a_notification_that_was_rolled_back_does_not_silence_the_next(ear: Any) -> None:
    pause()
    with transaction.atomic():
        make_job()
        transaction.set_rollback(True)
    make_job()
    assert heard(ear) == 1
