"""Records in the database itself each start and end of a handler, and each change of a job's status."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import psycopg2
from django.db import connection

from jobs.run import Run

INSTALL = """
CREATE TABLE chaos_effect (
    note uuid PRIMARY KEY, job uuid NOT NULL, attempt int NOT NULL, process int NOT NULL, worker text NOT NULL,
    what text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE chaos_transition (
    job uuid NOT NULL, attempt int NOT NULL, worker text NOT NULL, old text NOT NULL, new text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_transition (job, attempt, worker, old, new)
    VALUES (OLD.id, OLD.attempt, OLD.worker, OLD.status, NEW.status);
    RETURN NULL;
END
$$;
CREATE TRIGGER chaos_note AFTER UPDATE OF status ON jobs_job
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION chaos_note();
"""
NOTE = """
    INSERT INTO chaos_effect (note, job, attempt, process, worker, what) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
NOTE_AGAIN = 0.2
"""Seconds between two tries of a note that does not depend on a connection."""

Note = Callable[[list[Any]], None]


def install() -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSTALL)


@contextmanager
def noted(run: Run) -> Iterator[None]:
    """Note at once that a handler has started and, if it ends without an error, that it has ended.

    The handler fails if its connection does.
    """
    with _noted(run, _note):
        yield


@contextmanager
def noted_for_certain(run: Run) -> Iterator[None]:
    """The same over connections of its own, tried until the database takes it: the handler depends on no connection."""
    with _noted(run, _note_for_certain):
        yield


def note(run: Run, what: str) -> None:
    """Note something else, in the handler's transaction if there is one."""
    _note(_values(run, what))


@contextmanager
def _noted(run: Run, note: Note) -> Iterator[None]:
    note(_values(run, "start"))
    yield
    note(_values(run, "end"))


def _values(run: Run, what: str) -> list[Any]:
    return [str(uuid4()), str(run.job_id), run.attempt, os.getpid(), run._job.worker, what]


def _note(values: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(NOTE, values)


def _note_for_certain(values: list[Any]) -> None:
    while True:
        try:
            with closing(psycopg2.connect(**connection.get_connection_params())) as own, own, own.cursor() as cursor:
                cursor.execute(NOTE, values)
            return
        except (psycopg2.OperationalError, psycopg2.InterfaceError):  # InterfaceError: cut during the rollback
            time.sleep(NOTE_AGAIN)
