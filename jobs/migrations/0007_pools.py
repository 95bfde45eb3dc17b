"""Each sort of worker finds its jobs at the head of an index: those of main threads, or of a pool of threads."""

from importlib import import_module

from django.db import migrations, models

transitions = import_module("jobs.migrations.0002_transitions")

OF_QUEUED = {
    "job_due": models.Q(("priority__gte", -32768), ("status", "queued")),
    "job_due_in_queue": models.Q(("priority__lte", 32767), ("status", "queued")),
    "job_longest_waiting": models.Q(("attempt__gte", 0), ("status", "queued")),
}
BEST_FIRST = (models.F("pool"), models.OrderBy(models.F("priority"), descending=True), models.F("run_at"))
COLUMNS = {
    "job_due": BEST_FIRST,
    "job_due_in_queue": (models.F("queue"), *BEST_FIRST),
    "job_longest_waiting": (models.F("pool"), models.F("run_at")),
}


class Migration(migrations.Migration):
    dependencies = [("jobs", "0006_outputs")]

    operations = [
        *[migrations.RemoveIndex(model_name="job", name=name) for name in OF_QUEUED],
        migrations.AddField(
            model_name="job",
            name="pool",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Its kind, if that runs in threads; empty: a main thread.",
                max_length=100,
            ),
        ),
        *[
            migrations.AddIndex(model_name="job", index=models.Index(*COLUMNS[name], condition=condition, name=name))
            for name, condition in OF_QUEUED.items()
        ],
        # SQLite has made the table anew, without its triggers.
        migrations.RunPython(transitions.run(transitions.REMOVE), migrations.RunPython.noop),
        migrations.RunPython(transitions.run(transitions.INSTALL), migrations.RunPython.noop),
    ]
