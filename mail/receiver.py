"""Takes what providers tell: an event is matched to what we sent, believed or not, kept once, and its effect submitted.

mail.webhooks and the look-ups of the reconciliation come in here; mail.effects goes on from the job.
"""

from typing import Any

import structlog
from anymail.signals import tracking
from django.db import transaction
from django.dispatch import receiver
from django.utils import timezone

from jobs.submit import submit
from mail import accounts, addresses, reports
from mail.meaning import News
from mail.models import Attempt, Event
from mail.reports import Report

log = structlog.get_logger(__name__)

KIND = "mail.event"
"""The job that applies an event."""
FORGOTTEN = "Its recipient was forgotten."


@receiver(tracking, dispatch_uid="mail.receiver")
def take_anymail(sender: Any, event: Any, **_: object) -> None:
    """The events of Anymail's own views, as mail.webhooks has hardened them."""
    take(reports.of_anymail(event, sender.esp))


def take(report: Report, source: str = Event.Source.WEBHOOK) -> Event | None:
    """Keep an event and submit the job that applies it; None when it was known already."""
    attempt = _attempt(report)
    objection = _objection(report, attempt)
    event = _believed(report, attempt) if attempt and not objection else _disregarded(report, objection)
    event.source = source
    with transaction.atomic():
        if not _stored(event):
            return None
        if not objection:
            submit(KIND, {"event": str(event.pk)})
    log.info(
        "event_taken",
        event_id=str(event.pk),
        message_id=event.message_id and str(event.message_id),
        provider=event.provider,
        type=event.type,
        source=source,
        recipient=addresses.masked(report.recipient),
        disregarded=objection,
    )
    return event


def _attempt(report: Report) -> Attempt | None:
    """What it is about. Our own id is known before the provider's is: a webhook may be faster than the API's answer."""
    known = Attempt.objects.select_related("message")
    if report.attempt_id:
        return known.filter(pk=report.attempt_id).first()
    if not report.message_id:
        return None
    ids = [report.message_id, f"<{report.message_id}>"]
    return known.filter(provider_message_id__in=ids).exclude(provider_message_id="").first()


def _objection(report: Report, attempt: Attempt | None) -> str:
    """Why it is not believed. A signature covers no more than a time and a token, and so anything may be behind it."""
    if attempt is None:
        return "It is about nothing that we sent."
    used = accounts.account(attempt.provider)
    if (used.esp if used else attempt.provider) != report.esp:
        return f"The message was not given to {report.esp}."
    if not attempt.message.address:
        return FORGOTTEN
    if not _same_recipient(report, attempt):
        return "It names another recipient."
    sender = attempt.message.sender
    sent_from = used.domain_for(sender) if used else accounts.address_domain(sender).lower()
    if report.domain and report.domain.lower() != sent_from:
        return "It was sent from another domain."
    return ""


def _same_recipient(report: Report, attempt: Attempt) -> bool:
    if not report.recipient:
        return report.meaning.news == News.REJECTED
    return addresses.in_ascii(report.recipient) == addresses.in_ascii(attempt.message.address)


def _believed(report: Report, attempt: Attempt) -> Event:
    event = _event(report)
    event.attempt, event.message, event.key = attempt, attempt.message, report.key
    event.provider = attempt.provider
    if attempt.message.erased_at:
        event.raw = None
    return event


def _disregarded(report: Report, objection: str) -> Event:
    """It has no effect and belongs to no message; it is kept to be looked at, for a while (mail.effects)."""
    event = _event(report)
    event.disregarded, event.key = objection, report.disregarded_key
    if objection == FORGOTTEN:
        event.raw, event.detail = None, ""
    return event


def _event(report: Report) -> Event:
    meaning = report.meaning
    return Event(
        provider=report.esp,
        type=meaning.news[:50],
        failure_class=meaning.failure.kind if meaning.failure else "",
        at=report.at or timezone.now(),
        detail=meaning.detail,
        raw=report.raw,
    )


def _stored(event: Event) -> bool:
    """Insert it unless its key is taken; of two at the same time the database lets the second wait for the first."""
    Event.objects.bulk_create([event], ignore_conflicts=True)
    return Event.objects.filter(pk=event.pk).exists()
