"""An outage is a line when it begins, one a minute, and one when it ends, however many tries fail."""

from typing import Any

import psycopg2
import pytest
from django.db import OperationalError, connection
from psycopg2.errors import AdminShutdown, LockNotAvailable
from structlog.testing import capture_logs

from rest import outage
from rest.outage import FIRST_PAUSE, LONGEST_PAUSE, SETTLE, DatabaseAway, Outage, is_database_away


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test moves forward."""
    now = [1000.0]
    monkeypatch.setattr(outage.time, "monotonic", lambda: now[0])
    return now


def away() -> Exception:
    return DatabaseAway("connection refused\n\tIs the server running?")


def make_outage() -> Outage:
    return Outage("database", is_database_away)


def test_an_outage_of_100_seconds_is_three_lines(clock: list[float]) -> None:
    database = make_outage()
    with capture_logs() as logs:
        for _ in range(1000):
            database.note(away())
            clock[0] += 0.1
        database.end()
        database.end()
    began, goes_on, ended = logs
    assert (began["event"], began["cause"]) == (
        "outage_began",
        "DatabaseAway: connection refused Is the server running?",
    )
    assert goes_on["event"] == "outage_goes_on"
    assert (ended["event"], ended["seconds"], ended["errors"]) == ("outage_ended", 100.0, 1000)


def test_a_connection_that_was_cut_before_the_end_begins_no_new_outage(clock: list[float]) -> None:
    database = make_outage()
    database.note(away())
    database.end()
    with capture_logs() as logs:
        assert database.note(away())
        assert logs == []
        clock[0] += SETTLE
        database.note(away())
    assert [line["event"] for line in logs] == ["outage_began"]


def test_tries_back_off_with_jitter(clock: list[float]) -> None:
    database = make_outage()
    assert database.pause() == 0
    database.note(away())
    assert FIRST_PAUSE / 2 <= database.pause() <= FIRST_PAUSE
    clock[0] += 60
    pauses = {database.pause() for _ in range(10)}
    assert len(pauses) > 1
    assert LONGEST_PAUSE / 2 <= min(pauses) <= max(pauses) <= LONGEST_PAUSE


def caused_by(cause: BaseException) -> Exception:
    error = OperationalError("…")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (caused_by(psycopg2.OperationalError("server closed the connection unexpectedly")), True),
        (psycopg2.InterfaceError("connection already closed"), True),
        (psycopg2.InterfaceError("cursor already closed"), False),
        (OperationalError("rows are locked"), False),
        (caused_by(psycopg2.ProgrammingError("syntax")), False),
        (ValueError("a bug"), False),
    ],
)
def test_what_the_database_has_answered_is_no_outage(error: Any, is_away: bool) -> None:
    assert is_database_away(error) is is_away


@pytest.mark.django_db(transaction=True)
def test_the_errors_of_a_server_are_told_apart(settings: Any) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite is a file")
    assert not is_database_away(caught(LockNotAvailable, "55P03"))
    assert is_database_away(caught(AdminShutdown, "57P01"))


def caught(kind: type[psycopg2.Error], state: str) -> Exception:
    """The error of a statement that raises this SQLSTATE."""
    with pytest.raises(OperationalError) as raised, connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")
    assert isinstance(raised.value.__cause__, kind)
    return raised.value
