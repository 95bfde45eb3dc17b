"""The database refuses transitions that jobs/states.py does not know.

A later migration that alters a column of jobs_job on SQLite makes the table anew without its triggers, and has to run
these operations again; tests/test_states.py notices when one forgets to.
"""

from django.db import migrations

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
        "DROP TRIGGER IF EXISTS jobs_job_transition ON jobs_job",
        "DROP FUNCTION IF EXISTS jobs_job_refuse_transition()",
    ),
    "sqlite": ("DROP TRIGGER IF EXISTS jobs_job_transition",),
}


def run(statements):
    def operation(apps, schema_editor):
        for statement in statements[schema_editor.connection.vendor]:
            schema_editor.execute(statement, params=None)

    return operation


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]

    operations = [migrations.RunPython(run(INSTALL), run(REMOVE))]
