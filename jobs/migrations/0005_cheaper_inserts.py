"""A job that nobody owns has no place in its owner's list, and not every job wakes workers.

A connection that has just notified them need not do so again, for who is woken looks twice (jobs/wakeup.py). Only a
statement by itself is silent, since what it inserts is seen at once; a longer transaction notifies at its end.
"""

from django.db import migrations, models

SILENT = """
    transaction_timestamp() = statement_timestamp()
    AND statement_timestamp() < nullif(current_setting('legwork.silent_until', true), '')::timestamptz
"""
FUNCTION = """
    CREATE OR REPLACE FUNCTION jobs_job_notify() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('legwork_jobs', '');
        {further}
        RETURN NULL;
    END
    $$
"""
REMEMBER = "PERFORM set_config('legwork.silent_until', (statement_timestamp() + interval '5 ms')::text, false);"
TRIGGER = """
    CREATE TRIGGER jobs_job_inserted AFTER INSERT ON jobs_job
    FOR EACH STATEMENT {when} EXECUTE FUNCTION jobs_job_notify()
"""
REMOVE = "DROP TRIGGER IF EXISTS jobs_job_inserted ON jobs_job"

NOW_AND_THEN = (REMOVE, FUNCTION.format(further=REMEMBER), TRIGGER.format(when=f"WHEN (({SILENT}) IS NOT TRUE)"))
ALWAYS = (REMOVE, FUNCTION.format(further=""), TRIGGER.format(when=""))


def run(statements):
    def operation(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            for statement in statements:
                schema_editor.execute(statement, params=None)

    return operation


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_indexes_of_the_queue")]

    operations = [
        migrations.RunPython(run(NOW_AND_THEN), run(ALWAYS)),
        migrations.RemoveIndex(model_name="job", name="job_of_user"),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("user"),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("user__isnull", False)),
                name="job_of_user",
            ),
        ),
    ]
