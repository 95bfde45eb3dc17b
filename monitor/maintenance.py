"""The maintenance tasks of the task monitor, run by dispatchers: roll-ups, and their pruning."""

from datetime import timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from jobs.cluster.maintenance import every, hourly
from jobs.models import Cluster
from jobs.models.queryset import delete_in_batches
from monitor.dashboard.database import oldest_snapshots
from monitor.models import ErrorGroup, ErrorHour, FailedJob, JobFigures, MailFigures, QueueDepth, Release
from monitor.models.figures import EVER
from monitor.rollups.depth import sample_depth
from monitor.rollups.finished_jobs import count_finished_jobs
from monitor.rollups.mail import count_mail

log = structlog.get_logger(__name__)

SNAPSHOT_HELD = 60.0
"""Seconds after which a transaction that holds a snapshot is logged."""
KEEP_MINUTES = timedelta(hours=50)
"""Twice what the chart of a day needs, and a margin."""
KEEP_HOURS = timedelta(days=15)
FORGET_CLUSTERS = timedelta(days=1)


@every(minutes=5 / 60)
def roll_up_jobs() -> int:
    """Returns 0, so that it is not logged every few seconds."""
    count_finished_jobs()
    return 0


@every(minutes=5 / 60)
def roll_up_mail() -> int:
    count_mail()
    return 0


every(minutes=10 / 60)(sample_depth)


@every(minutes=1)
def warn_of_held_snapshots() -> int:
    """While one is held, no dead row can be removed, and every statement that meets them becomes slower."""
    for snapshot in oldest_snapshots():
        if snapshot.seconds is not None and snapshot.seconds > SNAPSHOT_HELD:
            log.warning("snapshot_held", kind=snapshot.kind, who=snapshot.who, seconds=round(snapshot.seconds))
    return 0


@every(minutes=60)
def note_release() -> int:
    """Record when the first dispatcher of a release starts."""
    if settings.RELEASE:
        Release.objects.get_or_create(name=settings.RELEASE)
    return 0


@hourly
def prune_figures() -> int:
    now = timezone.now()
    minutes = {"minute__lt": now - KEEP_MINUTES}
    old = [
        JobFigures.objects.filter(**minutes).exclude(minute=EVER),
        MailFigures.objects.filter(**minutes).exclude(minute=EVER),
        QueueDepth.objects.filter(**minutes),
        ErrorHour.objects.filter(hour__lt=now - KEEP_HOURS),
        FailedJob.objects.filter(at__lt=now - settings.JOB_RETENTION["failed"] - timedelta(days=1)),
        ErrorGroup.objects.filter(last_seen_at__lt=now - settings.JOB_RETENTION["failed"] - timedelta(days=1)),
        Cluster.objects.filter(seen_at__lt=now - FORGET_CLUSTERS),
    ]
    return sum(delete_in_batches(rows) for rows in old)
