"""What the database itself remembers of a run: each start and end of a handler, and each change of a job's status."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from jobs.run import Run

INSTALL = """
CREATE TABLE chaos_effect (
    job uuid NOT NULL, attempt int NOT NULL, process int NOT NULL, what text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE chaos_transition (
    job uuid NOT NULL, attempt int NOT NULL, old text NOT NULL, new text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_transition (job, attempt, old, new) VALUES (OLD.id, OLD.attempt, OLD.status, NEW.status);
    RETURN NULL;
END
$$;
CREATE TRIGGER chaos_note AFTER UPDATE OF status ON jobs_job
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION chaos_note();
"""


def install() -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSTALL)


@contextmanager
def noted(run: Run) -> Iterator[None]:
    """Note that a handler has begun and, when it comes to that, that it has ended: each at once and for good."""
    _note(run, "start")
    yield
    _note(run, "end")


def _note(run: Run, what: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chaos_effect (job, attempt, process, what) VALUES (%s, %s, %s, %s)",
            [run.job_id, run.attempt, os.getpid(), what],
        )
