import django.core.serializers.json
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import jobs.models.ids
import jobs.models.job
import jobs.models.outputs
import rest.json_value
import rest.watch.table
from jobs.migrations._triggers import WATCHED, install, remove
from rest.migrations._triggers import watchable


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("rest", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="CacheEntry",
            fields=[
                ("cache_key", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("value", models.TextField()),
                ("expires", models.DateTimeField(db_index=True, null=True)),
            ],
            options={
                "verbose_name_plural": "cache entries",
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("kind", models.CharField(max_length=100)),
                (
                    "params",
                    models.JSONField(
                        blank=True,
                        decoder=rest.json_value.stored_json_decoder,
                        default=dict,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                    ),
                ),
                ("queue", models.CharField(default="default", max_length=50)),
                (
                    "pool",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The kind, if it runs in threads; @remote; empty: runs in a main thread.",
                        max_length=100,
                    ),
                ),
                (
                    "priority",
                    models.SmallIntegerField(default=0, help_text="Due jobs of higher priority run first."),
                ),
                ("timeout", models.PositiveIntegerField(help_text="Seconds that one attempt may take.")),
                ("max_attempts", models.PositiveIntegerField(blank=True, help_text="Empty: unlimited.", null=True)),
                (
                    "budget",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Attempts granted at submission, and again by each restart.",
                        null=True,
                    ),
                ),
                (
                    "backoff",
                    models.JSONField(blank=True, help_text="This job's retry policy; empty: the kind's.", null=True),
                ),
                (
                    "unique_key",
                    models.CharField(
                        blank=True, help_text="Unique among the unfinished jobs of a user.", max_length=255, null=True
                    ),
                ),
                (
                    "request_id",
                    models.CharField(
                        blank=True, default="", help_text="The request that submitted it.", max_length=128
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("scheduled", "Scheduled"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("retrying", "Retrying"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("run_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("started_at", models.DateTimeField(blank=True, help_text="Start of the latest attempt.", null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                (
                    "worker",
                    models.CharField(
                        blank=True, default="", help_text="The worker of the latest attempt.", max_length=100
                    ),
                ),
                ("cancel_requested", models.BooleanField(default=False)),
                (
                    "version",
                    models.BigIntegerField(
                        default=rest.watch.table.new_version,
                        editable=False,
                        help_text="Grows with every change that a client can see (rest/migrations/_triggers.py).",
                    ),
                ),
                (
                    "progress",
                    models.JSONField(
                        default=jobs.models.job.no_progress, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                (
                    "result",
                    models.JSONField(
                        blank=True,
                        decoder=rest.json_value.stored_json_decoder,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
                        null=True,
                    ),
                ),
                (
                    "errors",
                    models.JSONField(blank=True, default=list, encoder=django.core.serializers.json.DjangoJSONEncoder),
                ),
                (
                    "output",
                    models.JSONField(
                        blank=True,
                        help_text="The file of the attempt that it names (jobs/models/outputs.py).",
                        null=True,
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="The owner; empty for the project's own jobs.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="jobs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "permissions": (
                    ("operate_job", "Can cancel, retry, delete and reorder jobs of all users"),
                    ("view_job_data", "Can see the params and results of jobs of all users"),
                ),
            },
        ),
        migrations.CreateModel(
            name="Output",
            fields=[
                (
                    "id",
                    models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("attempt", models.PositiveIntegerField()),
                ("worker", models.CharField(max_length=100)),
                ("place", models.CharField(default=jobs.models.outputs.new_place, max_length=255)),
                ("filename", models.CharField(help_text="The name of the download.", max_length=255)),
                ("content_type", models.CharField(max_length=100)),
                ("size", models.BigIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "job",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="jobs.job",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("pool"),
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
                models.F("pool"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("run_at"),
                condition=models.Q(("priority__lte", 32767), ("status", "queued")),
                name="job_due_in_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("pool"),
                models.F("run_at"),
                condition=models.Q(("attempt__gte", 0), ("status", "queued")),
                name="job_longest_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("user"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("run_at"),
                condition=models.Q(("pool", "@remote"), ("status", "queued")),
                name="job_due_of_owner",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("run_at"),
                condition=models.Q(("status__in", frozenset(["retrying", "scheduled"]))),
                name="job_upcoming",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("lease_expires_at"), condition=models.Q(("status", "running")), name="job_leases"
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("user"),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("user__isnull", False)),
                name="job_of_user",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", False), ("status__in", frozenset(["cancelled", "failed", "succeeded"]))
                    ),
                    models.Q(
                        models.Q(("status__in", frozenset(["cancelled", "failed", "succeeded"])), _negated=True),
                        ("finished_at__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="job_finished_at_iff_terminal",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("lease_expires_at__isnull", False), ("started_at__isnull", False), ("status", "running")),
                    models.Q(models.Q(("status", "running"), _negated=True), ("lease_expires_at__isnull", True)),
                    _connector="OR",
                ),
                name="job_lease_iff_running",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ["scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled"])
                ),
                name="job_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(condition=models.Q(("timeout__gt", 0)), name="job_timeout_positive"),
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
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                condition=models.Q(("pool", "@remote"), ("status", "running")),
                fields=("user", "worker"),
                name="job_one_lease_per_remote_worker",
            ),
        ),
        migrations.CreateModel(
            name="Cluster",
            fields=[
                (
                    "name",
                    models.CharField(
                        help_text="Host and a random id.", max_length=100, primary_key=True, serialize=False
                    ),
                ),
                ("host", models.CharField(max_length=60)),
                ("release", models.CharField(blank=True, default="", max_length=50)),
                ("queue", models.CharField(blank=True, default="", max_length=50)),
                ("broker", models.CharField(blank=True, default="", max_length=100)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "replacements",
                    models.PositiveIntegerField(default=0, help_text="Worker processes that ended and were replaced."),
                ),
                (
                    "clock_skew",
                    models.FloatField(default=0, help_text="Seconds by which its clock is ahead of the database's."),
                ),
                ("processes", models.JSONField(default=list)),
            ],
            options={
                "ordering": ("host", "started_at"),
            },
        ),
        migrations.CreateModel(
            name="Pause",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("scope", models.CharField(choices=[("queue", "Queue"), ("kind", "Kind")], max_length=5)),
                ("name", models.CharField(max_length=100)),
                ("reason", models.CharField(max_length=200)),
                ("by", models.CharField(help_text="The operator's user name.", max_length=150)),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "ordering": ("scope", "name"),
                "permissions": (("pause_queue", "Can pause and resume queues and kinds"),),
            },
        ),
        migrations.AddConstraint(
            model_name="pause",
            constraint=models.UniqueConstraint(fields=("scope", "name"), name="one_pause_of_each"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("status", "failed")),
                name="job_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("finished_at"), condition=models.Q(("finished_at__isnull", False)), name="job_finished"
            ),
        ),
        migrations.RunPython(install, remove),
        migrations.RunPython(*watchable("jobs_job", WATCHED)),
    ]
