"""Two triggers on jobs_job: one refuses transitions that jobs/models/states.py does not allow, one wakes idle workers.

A later migration that alters a column of jobs_job makes SQLite rebuild the table without its triggers; it has to run
`remove` and `install` again. tests/jobs/models/test_states.py fails otherwise.

The second is PostgreSQL's alone. A connection that has notified within 5 ms stays silent, because a woken worker looks
twice (jobs/brokers/listener.py). Only a single-statement transaction may stay silent, since its rows are visible at
once; a longer transaction notifies at its end.
"""

from typing import Any

WATCHED = (
    *("status", "attempt", "progress", "cancel_requested", "run_at", "started_at", "finished_at"),
    *("priority", "timeout", "max_attempts", "params"),
)
"""Columns whose change is told to those who watch a job; result and errors never change alone."""

ALLOWED = {
    "scheduled": ("queued", "cancelled"),
    "queued": ("running", "cancelled"),
    "running": ("succeeded", "failed", "cancelled", "retrying", "queued"),
    "retrying": ("queued", "cancelled"),
    "failed": ("queued",),
    "cancelled": ("queued",),
}
PAIRS = ", ".join(f"'{old}>{new}'" for old, following in ALLOWED.items() for new in following)
FORBIDDEN = f"OLD.status <> NEW.status AND (OLD.status || '>' || NEW.status) NOT IN ({PAIRS})"

SILENT = """
    transaction_timestamp() = statement_timestamp()
    AND statement_timestamp() < nullif(current_setting('legwork.silent_until', true), '')::timestamptz
"""

INSTALL = {
    "postgresql": (
        """
        CREATE OR REPLACE FUNCTION jobs_job_refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'job %: % cannot follow %', OLD.id, NEW.status, OLD.status
                USING ERRCODE = 'check_violation';
        END
        $$
        """,
        f"""
        CREATE TRIGGER jobs_job_transition BEFORE UPDATE OF status ON jobs_job
        FOR EACH ROW WHEN ({FORBIDDEN}) EXECUTE FUNCTION jobs_job_refuse_transition()
        """,
        """
        CREATE OR REPLACE FUNCTION jobs_job_notify() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('legwork_jobs', '');
            PERFORM set_config('legwork.silent_until', (statement_timestamp() + interval '5 ms')::text, false);
            RETURN NULL;
        END
        $$
        """,
        f"""
        CREATE TRIGGER jobs_job_inserted AFTER INSERT ON jobs_job
        FOR EACH STATEMENT WHEN (({SILENT}) IS NOT TRUE) EXECUTE FUNCTION jobs_job_notify()
        """,
    ),
    "sqlite": (
        f"""
        CREATE TRIGGER jobs_job_transition BEFORE UPDATE OF status ON jobs_job FOR EACH ROW WHEN {FORBIDDEN}
        BEGIN
            SELECT RAISE(ABORT, 'this status of a job cannot follow its present one');
        END
        """,
    ),
}
REMOVE = {
    "postgresql": (
        "DROP TRIGGER IF EXISTS jobs_job_inserted ON jobs_job",
        "DROP FUNCTION IF EXISTS jobs_job_notify()",
        "DROP TRIGGER IF EXISTS jobs_job_transition ON jobs_job",
        "DROP FUNCTION IF EXISTS jobs_job_refuse_transition()",
    ),
    "sqlite": ("DROP TRIGGER IF EXISTS jobs_job_transition",),
}


def install(apps: Any, schema_editor: Any) -> None:
    for statement in INSTALL[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def remove(apps: Any, schema_editor: Any) -> None:
    for statement in REMOVE[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)
