import django.core.serializers.json
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import jobs.models.ids
import rest.watch.table
from rest.migrations._triggers import watchable

WATCHED = (
    *("status", "failure", "provider", "possible_duplicate", "opens", "clicks", "sent_at", "finished_at"),
    *("erased_at", "address", "send_at", "expires_at"),
)
"""Columns whose change is told to those who watch a message."""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("rest", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "provider",
                    models.CharField(help_text="The account's name in the configuration of that time.", max_length=50),
                ),
                (
                    "service",
                    models.CharField(blank=True, default="", help_text="Anymail's name of the service.", max_length=50),
                ),
                (
                    "domain",
                    models.CharField(blank=True, default="", help_text="From which it was sent.", max_length=255),
                ),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("accepted", "Accepted"),
                            ("transient", "Transient"),
                            ("permanent", "Permanent"),
                            ("ambiguous", "Ambiguous"),
                        ],
                        default="",
                        max_length=10,
                    ),
                ),
                (
                    "failure_class",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("invalid", "Invalid"),
                            ("hard_bounce", "Hard Bounce"),
                            ("soft_bounce", "Soft Bounce"),
                            ("mailbox_full", "Mailbox Full"),
                            ("complaint", "Complaint"),
                            ("unsubscribed", "Unsubscribed"),
                            ("blocked", "Blocked"),
                            ("listed_bounce", "Listed Bounce"),
                            ("listed_complaint", "Listed Complaint"),
                            ("listed_unsubscribe", "Listed Unsubscribe"),
                            ("listed_unknown", "Listed Unknown"),
                            ("not_permitted", "Not Permitted"),
                            ("rejected", "Rejected"),
                            ("throttled", "Throttled"),
                            ("account", "Account"),
                            ("configuration", "Configuration"),
                            ("unreachable", "Unreachable"),
                            ("ambiguous", "Ambiguous"),
                        ],
                        default="",
                        max_length=20,
                    ),
                ),
                ("detail", models.TextField(blank=True, default="")),
                ("provider_message_id", models.CharField(blank=True, default="", max_length=255)),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="Provider",
            fields=[
                ("name", models.CharField(max_length=50, primary_key=True, serialize=False)),
                ("failures", models.PositiveIntegerField(default=0, help_text="In a row.")),
                ("opened_at", models.DateTimeField(blank=True, help_text="Since when the breaker is open.", null=True)),
                (
                    "open_until",
                    models.DateTimeField(blank=True, help_text="When one message may try it again.", null=True),
                ),
                ("paused_until", models.DateTimeField(blank=True, help_text="It asked for a pause (429).", null=True)),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name="RateBucket",
            fields=[
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("taken_until", models.DateTimeField()),
                ("planned_until", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Slowdown",
            fields=[
                ("domain", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("until", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="WebhookToken",
            fields=[
                ("token", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("event_key", models.CharField(help_text="Of the event that came with it.", max_length=64)),
                ("used_at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name="Broadcast",
            fields=[
                (
                    "id",
                    models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("subject", models.CharField(max_length=998)),
                ("text", models.TextField(blank=True, default="")),
                ("html", models.TextField(blank=True, default="")),
                (
                    "importance",
                    models.CharField(
                        choices=[("critical", "Critical"), ("normal", "Normal"), ("bulk", "Bulk")],
                        default="bulk",
                        max_length=10,
                    ),
                ),
                (
                    "sender",
                    models.CharField(blank=True, db_column="from", default="", max_length=500, verbose_name="from"),
                ),
                ("reply_to", models.JSONField(blank=True, default=list)),
                ("tags", models.JSONField(blank=True, default=list)),
                ("stream", models.CharField(blank=True, default="", max_length=50)),
                (
                    "track_opens",
                    models.BooleanField(blank=True, help_text="Empty: as the provider's account says.", null=True),
                ),
                (
                    "track_clicks",
                    models.BooleanField(blank=True, help_text="Empty: as the provider's account says.", null=True),
                ),
                (
                    "test_mode",
                    models.BooleanField(default=False, help_text="The provider accepts it and does not deliver it."),
                ),
                ("send_at", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(blank=True, help_text="Of all its messages.", null=True)),
                (
                    "messages_url",
                    models.TextField(blank=True, default="", help_text="Where its owner finds the messages."),
                ),
                ("recipients", models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ("next_row", models.PositiveIntegerField(default=0)),
                ("accepted", models.PositiveIntegerField(default=0)),
                ("suppressed", models.PositiveIntegerField(default=0)),
                ("refused", models.JSONField(default=list)),
                ("refusals", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "finished_at",
                    models.DateTimeField(blank=True, help_text="When the last message was made.", null=True),
                ),
                (
                    "released_at",
                    models.DateTimeField(blank=True, help_text="When the last message was queued.", null=True),
                ),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "stopped_at",
                    models.DateTimeField(blank=True, help_text="Since when the guard keeps its mail back.", null=True),
                ),
                ("stop_reason", models.CharField(blank=True, default="", max_length=300)),
                (
                    "watched_from",
                    models.DateTimeField(blank=True, help_text="The guard counts mail sent since then.", null=True),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="broadcasts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": (
                    ("broadcast_normal", "Can send broadcasts that are not bulk mail"),
                    ("resume_stopped", "Can resume own broadcasts and streams that were stopped"),
                ),
            },
        ),
        migrations.CreateModel(
            name="DomainBlock",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("domain", models.CharField(max_length=255)),
                ("digest", models.CharField(help_text="Of the address.", max_length=64)),
                ("at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
            options={
                "indexes": [models.Index(models.F("domain"), models.F("at"), name="blocks_of_domain")],
            },
        ),
        migrations.CreateModel(
            name="EventLogPosition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("provider", models.CharField(max_length=50)),
                ("domain", models.CharField(max_length=255)),
                ("read_until", models.DateTimeField(help_text="By the provider's clock.")),
                ("configured_at", models.DateTimeField(help_text="When the domain was last one of the configuration.")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("provider", "domain"), name="one_position_per_log")],
            },
        ),
        migrations.CreateModel(
            name="Lift",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64)),
                (
                    "address",
                    models.CharField(
                        blank=True, default="", help_text="Empty once the person was forgotten.", max_length=320
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("bounce", "Bounce"),
                            ("mailbox_full", "Mailbox Full"),
                            ("soft_bounces", "Soft Bounces"),
                            ("complaint", "Complaint"),
                            ("unsubscribe", "Unsubscribe"),
                            ("manual", "Manual"),
                        ],
                        max_length=20,
                    ),
                ),
                ("lifted_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("done_at", models.DateTimeField(blank=True, help_text="When all providers had lifted it.", null=True)),
            ],
            options={
                "indexes": [models.Index(models.F("digest"), name="lifts_of_address")],
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                (
                    "id",
                    models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("to", models.CharField(help_text="With the name, as it was given.", max_length=500)),
                ("address", models.CharField(blank=True, max_length=320)),
                ("sender", models.CharField(db_column="from", max_length=500, verbose_name="from")),
                ("reply_to", models.JSONField(blank=True, default=list)),
                ("subject", models.CharField(max_length=998)),
                ("text", models.TextField(blank=True, default="")),
                ("html", models.TextField(blank=True, default="")),
                ("headers", models.JSONField(blank=True, default=dict)),
                ("tags", models.JSONField(blank=True, default=list)),
                (
                    "metadata",
                    models.JSONField(blank=True, default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder),
                ),
                (
                    "importance",
                    models.CharField(
                        choices=[("critical", "Critical"), ("normal", "Normal"), ("bulk", "Bulk")],
                        default="normal",
                        max_length=10,
                    ),
                ),
                ("stream", models.CharField(blank=True, default="", max_length=50)),
                (
                    "track_opens",
                    models.BooleanField(blank=True, help_text="Empty: as the provider's account says.", null=True),
                ),
                (
                    "track_clicks",
                    models.BooleanField(blank=True, help_text="Empty: as the provider's account says.", null=True),
                ),
                (
                    "test_mode",
                    models.BooleanField(default=False, help_text="The provider accepts it and does not deliver it."),
                ),
                ("send_at", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(help_text="Not sent after this.")),
                (
                    "row",
                    models.PositiveIntegerField(
                        blank=True, help_text="Of the broadcast's recipients; 1 is the first.", null=True
                    ),
                ),
                (
                    "awaits_release",
                    models.BooleanField(default=False, help_text="It gets its job when the broadcast comes to it."),
                ),
                ("request_id", models.CharField(blank=True, default="", max_length=128)),
                (
                    "job_id",
                    models.UUIDField(
                        blank=True, help_text="The job that sends it; pruned before the message is.", null=True
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("scheduled", "Scheduled"),
                            ("queued", "Queued"),
                            ("sending", "Sending"),
                            ("sent", "Sent"),
                            ("deferred", "Deferred"),
                            ("delivered", "Delivered"),
                            ("bounced", "Bounced"),
                            ("complained", "Complained"),
                            ("rejected", "Rejected"),
                            ("suppressed", "Suppressed"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("provider", models.CharField(blank=True, default="", help_text="Who accepted it.", max_length=50)),
                ("failure", models.JSONField(blank=True, null=True)),
                ("possible_duplicate", models.BooleanField(default=False)),
                ("opens", models.PositiveIntegerField(default=0)),
                ("clicks", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "version",
                    models.BigIntegerField(
                        default=rest.watch.table.new_version, editable=False, help_text="Grows with every change."
                    ),
                ),
                (
                    "erased_at",
                    models.DateTimeField(blank=True, help_text="When body and attachments were erased.", null=True),
                ),
                (
                    "broadcast",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="messages",
                        to="mail.broadcast",
                    ),
                ),
                (
                    "resend_of",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="resends",
                        to="mail.message",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "id",
                    models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[("webhook", "Webhook"), ("lookup", "Lookup"), ("legwork", "Ours")], max_length=10
                    ),
                ),
                ("provider", models.CharField(blank=True, default="", max_length=50)),
                ("type", models.CharField(max_length=50)),
                (
                    "at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, help_text="When it happened, as the provider says."
                    ),
                ),
                ("received_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "failure_class",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("invalid", "Invalid"),
                            ("hard_bounce", "Hard Bounce"),
                            ("soft_bounce", "Soft Bounce"),
                            ("mailbox_full", "Mailbox Full"),
                            ("complaint", "Complaint"),
                            ("unsubscribed", "Unsubscribed"),
                            ("blocked", "Blocked"),
                            ("listed_bounce", "Listed Bounce"),
                            ("listed_complaint", "Listed Complaint"),
                            ("listed_unsubscribe", "Listed Unsubscribe"),
                            ("listed_unknown", "Listed Unknown"),
                            ("not_permitted", "Not Permitted"),
                            ("rejected", "Rejected"),
                            ("throttled", "Throttled"),
                            ("account", "Account"),
                            ("configuration", "Configuration"),
                            ("unreachable", "Unreachable"),
                            ("ambiguous", "Ambiguous"),
                        ],
                        default="",
                        max_length=20,
                    ),
                ),
                ("detail", models.TextField(blank=True, default="")),
                ("raw", models.JSONField(blank=True, null=True)),
                ("key", models.CharField(blank=True, max_length=64, null=True, unique=True)),
                ("applied_at", models.DateTimeField(blank=True, help_text="When its effect took place.", null=True)),
                ("disregarded", models.CharField(blank=True, default="", max_length=200)),
                (
                    "attempt",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="events",
                        to="mail.attempt",
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="mail.message",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.AddField(
            model_name="attempt",
            name="message",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="attempts", to="mail.message"
            ),
        ),
        migrations.CreateModel(
            name="Attachment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("filename", models.CharField(max_length=255)),
                ("content_type", models.CharField(max_length=255)),
                ("content", models.BinaryField()),
                (
                    "content_id",
                    models.CharField(blank=True, default="", help_text="Of an inline image.", max_length=100),
                ),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="attachments", to="mail.message"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=50)),
                ("detail", models.TextField(blank=True, default="")),
                ("provider", models.CharField(blank=True, default="", max_length=50)),
                ("at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                (
                    "told_at",
                    models.DateTimeField(blank=True, help_text="When settings.MAIL_ALERT_TO was told.", null=True),
                ),
                (
                    "message",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="alerts",
                        to="mail.message",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="MessageFigure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("name", models.CharField(help_text="created, sent, or a final status.", max_length=10)),
                ("number", models.PositiveIntegerField()),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="message_figures",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Stream",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "stopped_at",
                    models.DateTimeField(blank=True, help_text="Since when the guard keeps its mail back.", null=True),
                ),
                ("stop_reason", models.CharField(blank=True, default="", max_length=300)),
                (
                    "watched_from",
                    models.DateTimeField(blank=True, help_text="The guard counts mail sent since then.", null=True),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="streams",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="StreamSuppression",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stream", models.SlugField(db_index=False)),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("address", models.CharField(blank=True, db_index=True, default="", max_length=320)),
                ("source", models.CharField(help_text="A user's name, or one-click.", max_length=50)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="Strike",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("invalid", "Invalid"),
                            ("hard_bounce", "Hard Bounce"),
                            ("soft_bounce", "Soft Bounce"),
                            ("mailbox_full", "Mailbox Full"),
                            ("complaint", "Complaint"),
                            ("unsubscribed", "Unsubscribed"),
                            ("blocked", "Blocked"),
                            ("listed_bounce", "Listed Bounce"),
                            ("listed_complaint", "Listed Complaint"),
                            ("listed_unsubscribe", "Listed Unsubscribe"),
                            ("listed_unknown", "Listed Unknown"),
                            ("not_permitted", "Not Permitted"),
                            ("rejected", "Rejected"),
                            ("throttled", "Throttled"),
                            ("account", "Account"),
                            ("configuration", "Configuration"),
                            ("unreachable", "Unreachable"),
                            ("ambiguous", "Ambiguous"),
                        ],
                        max_length=20,
                    ),
                ),
                ("at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
            options={
                "indexes": [models.Index(models.F("digest"), models.F("at"), name="strikes_of_address")],
            },
        ),
        migrations.CreateModel(
            name="Suppression",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("address", models.CharField(blank=True, db_index=True, default="", max_length=320)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("bounce", "Bounce"),
                            ("mailbox_full", "Mailbox Full"),
                            ("soft_bounces", "Soft Bounces"),
                            ("complaint", "Complaint"),
                            ("unsubscribe", "Unsubscribe"),
                            ("manual", "Manual"),
                        ],
                        max_length=20,
                    ),
                ),
                ("scope", models.CharField(choices=[("all", "All"), ("bulk", "Bulk")], default="all", max_length=5)),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, help_text="Empty: until it is lifted by hand.", null=True),
                ),
                (
                    "source",
                    models.CharField(help_text="A provider's name, a user's, import or one-click.", max_length=50),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "ordering": ("-created_at",),
                "constraints": [
                    models.UniqueConstraint(fields=("digest", "scope", "reason"), name="one_suppression_per_fact")
                ],
            },
        ),
        migrations.CreateModel(
            name="Template",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=100)),
                ("subject", models.CharField(max_length=998)),
                ("text", models.TextField(blank=True, default="")),
                ("html", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="templates",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.AddIndex(
            model_name="broadcast",
            index=models.Index(
                models.F("created_at"),
                condition=models.Q(("cancelled_at", None), ("released_at__isnull", True)),
                name="broadcast_to_release",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("user"), models.OrderBy(models.F("id"), descending=True), name="message_of_user"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("address"), models.OrderBy(models.F("id"), descending=True), name="message_to_address"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("user"),
                models.F("stream"),
                models.F("created_at"),
                condition=models.Q(("stream", ""), _negated=True),
                name="message_of_stream",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("broadcast"),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("broadcast__isnull", False)),
                name="message_of_broadcast",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("broadcast"),
                models.F("awaits_release"),
                models.F("row"),
                condition=models.Q(
                    ("broadcast__isnull", False), ("status__in", frozenset(["queued", "scheduled", "sending"]))
                ),
                name="message_to_release",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("created_at"),
                condition=models.Q(
                    (
                        "status__in",
                        frozenset(
                            [
                                "bounced",
                                "cancelled",
                                "complained",
                                "delivered",
                                "expired",
                                "failed",
                                "rejected",
                                "suppressed",
                            ]
                        ),
                    ),
                    _negated=True,
                ),
                name="message_unfinished",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("send_at"), condition=models.Q(("status", "scheduled")), name="message_scheduled"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("created_at"), condition=models.Q(("erased_at__isnull", True)), name="message_to_erase"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("created_at"), condition=models.Q(("erased_at__isnull", False)), name="message_to_delete"
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", False),
                        (
                            "status__in",
                            frozenset(
                                [
                                    "bounced",
                                    "cancelled",
                                    "complained",
                                    "delivered",
                                    "expired",
                                    "failed",
                                    "rejected",
                                    "suppressed",
                                ]
                            ),
                        ),
                    ),
                    models.Q(
                        models.Q(
                            (
                                "status__in",
                                frozenset(
                                    [
                                        "bounced",
                                        "cancelled",
                                        "complained",
                                        "delivered",
                                        "expired",
                                        "failed",
                                        "rejected",
                                        "suppressed",
                                    ]
                                ),
                            ),
                            _negated=True,
                        ),
                        ("finished_at__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="message_finished_at_iff_terminal",
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "scheduled",
                            "queued",
                            "sending",
                            "sent",
                            "deferred",
                            "delivered",
                            "bounced",
                            "complained",
                            "rejected",
                            "suppressed",
                            "failed",
                            "expired",
                            "cancelled",
                        ],
                    )
                ),
                name="message_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.UniqueConstraint(fields=("broadcast", "row"), name="one_message_per_row"),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.UniqueConstraint(
                condition=models.Q(("broadcast__isnull", False), models.Q(("address", ""), _negated=True)),
                fields=("broadcast", "address"),
                name="one_message_per_address",
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                models.F("received_at"),
                condition=models.Q(
                    ("applied_at__isnull", True), ("disregarded", ""), models.Q(("source", "legwork"), _negated=True)
                ),
                name="event_to_apply",
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                models.F("received_at"),
                condition=models.Q(("disregarded", ""), _negated=True),
                name="event_disregarded",
            ),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(
                models.F("provider_message_id"),
                condition=models.Q(("provider_message_id", ""), _negated=True),
                name="attempt_provider_message",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome", "")), fields=("message",), name="one_attempt_under_way"
            ),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(models.F("kind"), models.F("told_at"), name="alerts_told"),
        ),
        migrations.AddIndex(
            model_name="messagefigure",
            index=models.Index(models.F("day"), models.F("user"), name="message_figures_of_day"),
        ),
        migrations.AddConstraint(
            model_name="stream",
            constraint=models.UniqueConstraint(fields=("user", "name"), name="one_stream_of_a_name"),
        ),
        migrations.AddConstraint(
            model_name="streamsuppression",
            constraint=models.UniqueConstraint(fields=("user", "stream", "digest"), name="one_suppression_of_a_stream"),
        ),
        migrations.AddConstraint(
            model_name="template",
            constraint=models.UniqueConstraint(fields=("user", "name"), name="one_template_of_a_name"),
        ),
        migrations.RunPython(*watchable("mail_message", WATCHED)),
    ]
