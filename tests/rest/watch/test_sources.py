"""What triggers notify, and changes of transactions that began before anybody watched."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from django.db import connection

from demo.eventually import eventually
from jobs.models import Job
from jobs.models.states import Status
from rest.watch.sources import CHANNEL, Notifications, Polling, Wakeup, source_for
from tests.support.factories import make_job, make_user
from tests.support.timeouts import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL notifies.")


@on_postgresql
def test_a_transaction_that_was_open_before_anybody_watched_is_looked_at_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long it lasts, for it does not notify."""
    _watched(seconds=-1)
    job, wakeup = make_job(Status.QUEUED), Wakeup()
    other = psycopg2.connect(**connection.get_connection_params())
    other.cursor().execute("UPDATE jobs_job SET priority = 7 WHERE id = %s", [job.pk])
    connection.ensure_connection()
    source = Notifications(connection, wakeup)
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600)
    try:
        while source.wait(0):
            pass
        other.commit()
        eventually(lambda: source.wait(0.1), PATIENCE, "the look at everything")
        assert list(source.changes()) == []
        assert Job.objects.get(pk=job.pk).priority == 7
        assert not source.wait(0.2)
    finally:
        other.close()
        wakeup.close()
        connection.close()


@pytest.fixture
def ear() -> Iterator[Any]:
    """Another session that listens."""
    session = psycopg2.connect(**connection.get_connection_params())
    session.autocommit = True
    session.cursor().execute(f"LISTEN {CHANNEL}")
    yield session
    session.close()


def heard(ear: Any) -> list[str]:
    ear.cursor().execute("SELECT 1")
    payloads = [notification.payload for notification in ear.notifies]
    ear.notifies.clear()
    return payloads


@on_postgresql
def test_nothing_is_notified_while_nobody_watches(ear: Any) -> None:
    _watched(seconds=-1)
    Job.objects.filter(pk=make_job(Status.QUEUED).pk).update(priority=1)
    assert heard(ear) == []


@on_postgresql
def test_many_rows_are_notified_in_few_notifications(ear: Any) -> None:
    _watched(seconds=3600)
    owner = make_user()
    Job.objects.bulk_create([_unsaved(owner.pk) for _ in range(250)])
    payloads = heard(ear)
    assert len(payloads) == 3
    rows = [row for payload in payloads for row in payload.removeprefix("jobs_job ").split(",")]
    assert sorted(rows) == sorted(f"{pk}/{owner.pk}" for pk in Job.objects.values_list("pk", flat=True))
    Job.objects.filter(priority=99).update(priority=1)
    assert heard(ear) == []
    Job.objects.bulk_create([_unsaved(owner.pk) for _ in range(2001)])
    assert heard(ear) == ["jobs_job *"]
    _watched(seconds=-1)


@on_postgresql
def test_announcing_a_watcher_does_not_shorten_an_earlier_announcement(ear: Any) -> None:
    _watched(seconds=3600)
    wakeup = Wakeup()
    source_for(connection, wakeup)
    wakeup.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value - extract(epoch FROM now()) > 3000 FROM rest_watched_until")
        assert cursor.fetchone() == (True,)
    _watched(seconds=-1)


def _watched(*, seconds: int) -> None:
    """Announce watchers for so many seconds from now, whatever was announced before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('rest_watched_until', extract(epoch FROM now())::bigint + %s)", [seconds])


def _unsaved(owner: int) -> Job:
    return Job(kind="demo.countdown", params={"seconds": 0}, timeout=60, max_attempts=3, budget=3, user_id=owner)


@on_postgresql
def test_a_pooler_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    wakeup = Wakeup()
    assert isinstance(source_for(connection, wakeup), Notifications)
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    assert isinstance(source_for(connection, wakeup), Polling)
    wakeup.close()
    with connection.cursor() as cursor:
        cursor.execute("UNLISTEN *")
    connection.close()


def test_a_wakeup_can_be_set_any_number_of_times() -> None:
    wakeup = Wakeup()
    done = threading.Thread(target=lambda: [wakeup.set() for _ in range(100_000)])
    done.start()
    done.join()
    wakeup.clear()
    wakeup.clear()
    wakeup.close()
