import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Release",
            fields=[
                ("name", models.CharField(max_length=50, primary_key=True, serialize=False)),
                ("first_seen_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "ordering": ("-first_seen_at",),
            },
        ),
        migrations.CreateModel(
            name="RollupPosition",
            fields=[
                ("name", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("until", models.DateTimeField()),
                ("ran_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("seconds", models.FloatField(default=0, help_text="How long the last round took.")),
            ],
        ),
        migrations.CreateModel(
            name="ErrorGroup",
            fields=[
                ("fingerprint", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=100)),
                ("type", models.CharField(help_text="The exception's class.", max_length=200)),
                (
                    "place",
                    models.CharField(blank=True, help_text="The innermost line of our own code.", max_length=300),
                ),
                ("message", models.CharField(blank=True, max_length=500)),
                ("example", models.UUIDField(help_text="A job that failed so.")),
                ("count", models.BigIntegerField(default=0)),
                ("release", models.CharField(blank=True, default="", max_length=50)),
                ("first_seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_seen_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "ordering": ("-last_seen_at",),
                "indexes": [
                    models.Index(models.F("last_seen_at"), name="error_group_last_seen"),
                    models.Index(models.F("type"), name="error_group_type"),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobFigures",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("minute", models.DateTimeField()),
                ("kind", models.CharField(blank=True, max_length=100)),
                ("status", models.CharField(max_length=10)),
                ("count", models.BigIntegerField(default=0)),
                ("attempts", models.BigIntegerField(default=0)),
                ("wait_seconds", models.FloatField(default=0)),
                ("run_seconds", models.FloatField(default=0)),
                ("wait_buckets", models.JSONField(default=list)),
                ("run_buckets", models.JSONField(default=list)),
            ],
            options={
                "indexes": [models.Index(models.F("minute"), name="job_figures_by_minute")],
                "constraints": [
                    models.UniqueConstraint(fields=("kind", "minute", "status"), name="one_row_of_job_figures")
                ],
            },
        ),
        migrations.CreateModel(
            name="MailFigures",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("minute", models.DateTimeField()),
                ("provider", models.CharField(blank=True, max_length=50)),
                ("outcome", models.CharField(max_length=50)),
                ("count", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("minute", "provider", "outcome"), name="one_row_of_mail_figures")
                ],
            },
        ),
        migrations.CreateModel(
            name="QueueDepth",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("minute", models.DateTimeField()),
                ("queue", models.CharField(max_length=50)),
                ("kind", models.CharField(max_length=100)),
                ("status", models.CharField(max_length=10)),
                ("count", models.BigIntegerField()),
                ("oldest", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("minute", "queue", "kind", "status"), name="one_row_of_depth")
                ],
            },
        ),
        migrations.CreateModel(
            name="ErrorHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.DateTimeField()),
                ("count", models.BigIntegerField(default=0)),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="hours", to="monitor.errorgroup"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(models.F("hour"), name="error_hour_hour")],
                "constraints": [models.UniqueConstraint(fields=("group", "hour"), name="one_row_of_error_hour")],
            },
        ),
        migrations.CreateModel(
            name="FailedJob",
            fields=[
                ("job_id", models.UUIDField(primary_key=True, serialize=False)),
                ("message", models.CharField(blank=True, max_length=500)),
                ("at", models.DateTimeField()),
                (
                    "group",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="jobs",
                        to="monitor.errorgroup",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("group"),
                        models.OrderBy(models.F("job_id"), descending=True),
                        name="failed_jobs_of_group",
                    ),
                    models.Index(models.F("at"), name="failed_job_at"),
                ],
            },
        ),
    ]
