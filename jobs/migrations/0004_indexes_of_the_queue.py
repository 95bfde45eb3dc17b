"""Every index of what is queued serves its own query alone (jobs/queue.py says why); no key takes no place."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0003_notify"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="job",
            name="job_unique_key_while_unfinished",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="job_unique_key_of_nobody_while_unfinished",
        ),
        migrations.RemoveIndex(
            model_name="job",
            name="job_due",
        ),
        migrations.RemoveIndex(
            model_name="job",
            name="job_due_in_queue",
        ),
        migrations.RemoveIndex(
            model_name="job",
            name="job_longest_waiting",
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.OrderBy(models.F("priority"), descending=True),
                models.F("run_at"),
                condition=models.Q(("priority__gte", -32768), ("status", "queued")),
                name="job_due",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("queue"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("run_at"),
                condition=models.Q(("priority__lte", 32767), ("status", "queued")),
                name="job_due_in_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("run_at"),
                condition=models.Q(("attempt__gte", 0), ("status", "queued")),
                name="job_longest_waiting",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(("status__in", frozenset(["cancelled", "failed", "succeeded"])), _negated=True),
                    ("unique_key__isnull", False),
                ),
                fields=("user", "unique_key"),
                name="job_unique_key_while_unfinished",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(("status__in", frozenset(["cancelled", "failed", "succeeded"])), _negated=True),
                    ("unique_key__isnull", False),
                    ("user__isnull", True),
                ),
                fields=("unique_key",),
                name="job_unique_key_of_nobody_while_unfinished",
            ),
        ),
    ]
