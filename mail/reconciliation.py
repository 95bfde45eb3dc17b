"""Looking after messages of which nothing is heard: webhooks get lost, and so, once in a blue moon, do jobs."""

from datetime import datetime, timedelta

import structlog
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Job
from mail import accounts, alerts, lookups
from mail.clearing import take
from mail.consequences import submit_sending
from mail.importance import Importance
from mail.models import Alert, Attempt, Message
from mail.models.message import LOOK_UP_AFTER
from mail.status import UNDER_WAY, Status

log = structlog.get_logger(__name__)

AT_ONCE = 200
"""Messages that are looked after in one round."""
ASKED_FOR_AT_MOST = timedelta(days=5)
"""Providers keep events for days only; what was not heard of by then stays as it is."""
JOB_LOST_AFTER = timedelta(minutes=5)
DEFERRED_FOR_LONG = timedelta(minutes=15)
"""Of critical mail: time for somebody to look, until nothing is expected to happen any more."""


def reconcile() -> dict[str, int]:
    """One round: how many got a job again, how many alerts, how many were asked for, how many events were news.

    Providers come last: one that does not answer keeps the round for as long as it may take.
    """
    jobs, alerted = _find_jobs(), _alert_of_the_deferred()
    asked, news = _ask_for_the_silent()
    return {"jobs": jobs, "alerts": alerted, "asked": asked, "news": news}


def _ask_for_the_silent() -> tuple[int, int]:
    """A provider that could not be asked is left alone for the rest of the round."""
    known = Message.objects.exclude(address="")  # providers would tell of everybody's mail
    silent = known.filter(status__in=UNDER_WAY, look_up_at__lte=Now()).order_by("look_up_at")
    asked = news = 0
    deaf: set[str] = set()
    while asked < AT_ONCE and (message := silent.exclude(provider__in=deaf).first()):
        asked += 1
        found = _ask_for(message)
        if found is None:
            deaf.add(message.provider)
        else:
            news += found
    return asked, news


def _ask_for(message: Message) -> int | None:
    """How many events were news; None when the provider could not be asked."""
    now = timezone.now()
    age = now - (message.sent_at or message.created_at)
    # Whatever comes of it, even the end of this process: the next round begins with the others.
    _look_up_again(message, age, now)
    attempt = message.attempts.filter(outcome=Attempt.Outcome.ACCEPTED).last()
    account = accounts.account(attempt.provider) if attempt else None
    told = lookups.reports_of(attempt, account) if attempt and account and lookups.can_ask(account) else []
    if told is None:
        return None
    _look_up_again(message, age, now + max(LOOK_UP_AFTER, age))
    news = take(told)  # the way of every event, so that nothing counts twice
    if news and account:
        message.note("looked_up", f"the provider was asked: {news} events were news", account.name)
    return news


def _look_up_again(message: Message, age: timedelta, at: datetime) -> None:
    Message.objects.filter(pk=message.pk).update(look_up_at=at if age < ASKED_FOR_AT_MOST else None)


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
        sent_at__gt=Now() - ASKED_FOR_AT_MOST,
    )[:AT_ONCE]
    for message in deferred:
        alerts.alert(Status.DEFERRED, "critical mail is not delivered yet", message=message, provider=message.provider)
    return len(deferred)
