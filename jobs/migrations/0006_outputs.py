"""The files that handlers produce. A table of their own: jobs_job stays as it is, with its triggers."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import jobs.ids
import jobs.outputs


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0005_cheaper_inserts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Output",
            fields=[
                (
                    "id",
                    models.UUIDField(default=jobs.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="jobs.job",
                    ),
                ),
                ("attempt", models.PositiveIntegerField()),
                ("worker", models.CharField(max_length=100)),
                ("place", models.CharField(default=jobs.outputs.new_place, max_length=255)),
                ("filename", models.CharField(help_text="For whoever downloads it.", max_length=255)),
                ("content_type", models.CharField(max_length=100)),
                ("size", models.BigIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
    ]
