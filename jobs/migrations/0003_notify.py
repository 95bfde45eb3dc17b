"""PostgreSQL tells idle workers of new jobs: one notification a statement, and at most one a transaction."""

from django.db import migrations

INSTALL = (
    """
    CREATE OR REPLACE FUNCTION jobs_job_notify() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('legwork_jobs', '');
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER jobs_job_inserted AFTER INSERT ON jobs_job
    FOR EACH STATEMENT EXECUTE FUNCTION jobs_job_notify()
    """,
)
REMOVE = (
    "DROP TRIGGER IF EXISTS jobs_job_inserted ON jobs_job",
    "DROP FUNCTION IF EXISTS jobs_job_notify()",
)


def run(statements):
    def operation(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            for statement in statements:
                schema_editor.execute(statement, params=None)

    return operation


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_transitions")]

    operations = [migrations.RunPython(run(INSTALL), run(REMOVE))]
