"""Every five minutes: messages that lost their job, critical mail that is late, events whose webhook was lost."""

from datetime import timedelta

import structlog
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from jobs.models import Job
from mail import alerts
from mail.events import event_log
from mail.importance import Importance
from mail.models import Alert, Message
from mail.policy.apply_policy import submit_sending_job
from mail.status import Status

log = structlog.get_logger(__name__)

BATCH = 200
"""Messages of each sort in one round."""
NO_EVENT_AFTER = timedelta(days=5)
"""Providers report nothing of a message later than this."""
JOB_LOST_AFTER = timedelta(minutes=5)
ALERT_IF_DEFERRED_FOR = timedelta(minutes=15)
"""Of critical mail, counted from sent_at."""


def reconcile() -> dict[str, int]:
    """One round. Returns the numbers of new jobs, of alerts, and of events that were read and that were new.

    The event logs come last: a provider that does not answer delays the end of the round.
    """
    return {"jobs": _submit_lost_jobs(), "alerts": _alert_deferred(), **event_log.read_logs()}


def _submit_lost_jobs() -> int:
    """A new job for each pending message whose job has finished or was pruned."""
    unfinished = Job.objects.unfinished().filter(pk=OuterRef("job_id"))
    lost = Message.objects.pending().filter(
        ~Exists(unfinished), created_at__lt=Now() - JOB_LOST_AFTER, awaits_release=False
    )
    found = list(lost.filter(Q(send_at=None) | Q(send_at__lte=Now())).order_by("created_at")[:BATCH])
    for message in found:
        log.warning("message_without_job", message_id=str(message.pk), status=message.status)
        submit_sending_job(message)
    return len(found)


def _alert_deferred() -> int:
    alerted = Alert.objects.filter(message=OuterRef("pk"), kind=Status.DEFERRED)
    deferred = Message.objects.filter(
        ~Exists(alerted),
        status=Status.DEFERRED,
        importance=Importance.CRITICAL,
        sent_at__lt=Now() - ALERT_IF_DEFERRED_FOR,
        sent_at__gt=Now() - NO_EVENT_AFTER,
    )[:BATCH]
    for message in deferred:
        alerts.alert(Status.DEFERRED, "critical mail is not delivered yet", message=message, provider=message.provider)
    return len(deferred)
