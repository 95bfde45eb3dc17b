"""Looking after mail: events whose webhooks were lost, messages without a job, critical mail that is late."""

from datetime import timedelta

import structlog
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from jobs.models import Job
from mail import alerts
from mail.events import event_log
from mail.importance import Importance
from mail.models import Alert, Message
from mail.policy.apply_policy import submit_sending
from mail.status import Status

log = structlog.get_logger(__name__)

AT_ONCE = 200
"""Messages that are looked after in one round."""
NOT_LATE_ANY_MORE = timedelta(days=5)
"""Nothing is expected to happen to a message after this."""
JOB_LOST_AFTER = timedelta(minutes=5)
DEFERRED_FOR_LONG = timedelta(minutes=15)
"""Of critical mail: time for somebody to look."""


def reconcile() -> dict[str, int]:
    """One round: how many messages got a job again, how many alerts, how many events were read and were news.

    Providers come last: one that does not answer keeps the round for as long as it may take.
    """
    jobs, alerted = _find_jobs(), _alert_of_the_deferred()
    return {"jobs": jobs, "alerts": alerted, **event_log.read_logs()}


def _find_jobs() -> int:
    """Pending messages whose job has ended, was cancelled or pruned, get another."""
    at_work = Job.objects.unfinished().filter(pk=OuterRef("job_id"))
    lost = Message.objects.pending().filter(
        ~Exists(at_work), created_at__lt=Now() - JOB_LOST_AFTER, awaits_release=False
    )
    found = list(lost.filter(Q(send_at=None) | Q(send_at__lte=Now())).order_by("created_at")[:AT_ONCE])
    for message in found:
        log.warning("message_without_job", message_id=str(message.pk), status=message.status)
        submit_sending(message)
    return len(found)


def _alert_of_the_deferred() -> int:
    told = Alert.objects.filter(message=OuterRef("pk"), kind=Status.DEFERRED)
    deferred = Message.objects.filter(
        ~Exists(told),
        status=Status.DEFERRED,
        importance=Importance.CRITICAL,
        sent_at__lt=Now() - DEFERRED_FOR_LONG,
        sent_at__gt=Now() - NOT_LATE_ANY_MORE,
    )[:AT_ONCE]
    for message in deferred:
        alerts.alert(Status.DEFERRED, "critical mail is not delivered yet", message=message, provider=message.provider)
    return len(deferred)
