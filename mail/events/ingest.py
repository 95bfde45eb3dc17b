"""Takes what providers tell: an event is matched to what we sent, believed or not, kept once, and its effect submitted.

mail.webhooks.views and the look-ups of the reconciliation come in here; mail.events.apply goes on from the job.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from anymail.signals import tracking
from django.db import transaction
from django.dispatch import receiver
from django.utils import timezone

from jobs.submit import submit_many
from mail.addresses.normalize import ascii_address, mask_address
from mail.events import provider_event
from mail.events.classify import News
from mail.events.provider_event import Report
from mail.models import Attempt, Event
from mail.providers import accounts

log = structlog.get_logger(__name__)

KIND = "mail.event"
"""The job that applies an event."""
FORGOTTEN = "Its recipient was forgotten."


@receiver(tracking, dispatch_uid="mail.events.ingest")
def take_anymail(sender: Any, event: Any, **_: object) -> None:
    """The events of Anymail's own views, as mail.webhooks.views has hardened them."""
    take(provider_event.of_anymail(event, sender.esp))


def take(report: Report, source: str = Event.Source.WEBHOOK) -> Event | None:
    """Keep an event and submit the job that applies it; None when it was known already."""
    return next(iter(take_many([report], source)), None)


def take_many(reports: Sequence[Report], source: str) -> list[Event]:
    """As take(), for many at once; returns those that were not known already.

    A provider's log also holds the mail of others who send from the domain: what is about none of ours is left out.
    """
    if len(reports) > 1:
        reports = _unknown(reports)
    attempts = _Attempts(reports)
    events = []
    for report in reports:
        attempt = attempts.of(report)
        if attempt or source == Event.Source.WEBHOOK:
            events.append(_event_of(report, attempt, source))
    with transaction.atomic():
        stored = _stored(events)
        if to_apply := [{"event": str(event.pk)} for event in stored if not event.disregarded]:
            submit_many(KIND, to_apply)
    for event in stored:
        _log_taken(event)
    return stored


def _unknown(reports: Sequence[Report]) -> list[Report]:
    """Those that are not stored yet: webhooks have told most of what is read in a log."""
    keys = {report.key: report for report in reports}
    known = set(Event.objects.filter(key__in=keys).values_list("key", flat=True))
    return [report for key, report in keys.items() if key not in known]


class _Attempts:
    """The attempts that reports are about, without the bodies of their messages.

    Our own id is looked for first: a webhook may come before the API's answer, which has the provider's id.
    """

    def __init__(self, reports: Sequence[Report]) -> None:
        known = Attempt.objects.select_related("message").defer("message__text", "message__html")
        self._by_id = known.in_bulk({report.attempt_id for report in reports if report.attempt_id})
        names = {report.message_id for report in reports if report.message_id and not report.attempt_id}
        found = known.filter(provider_message_id__in=[spelled for name in names for spelled in (name, f"<{name}>")])
        self._by_message_id = {each.provider_message_id.strip("<>"): each for each in found} if names else {}

    def of(self, report: Report) -> Attempt | None:
        return self._by_id.get(report.attempt_id) if report.attempt_id else self._by_message_id.get(report.message_id)


def _event_of(report: Report, attempt: Attempt | None, source: str) -> Event:
    objection = _objection(report, attempt)
    event = _believed(report, attempt) if attempt and not objection else _disregarded(report, objection)
    event.source = source
    return event


def _objection(report: Report, attempt: Attempt | None) -> str:
    """Why it is not believed. A signature covers no more than a time and a token, and so anything may be behind it."""
    if attempt is None:
        return "It is about nothing that we sent."
    service, domain = _sent_by(attempt)
    if service != report.esp:
        return f"The message was not given to {report.esp}."
    if not attempt.message.address:
        return FORGOTTEN
    if not _same_recipient(report, attempt):
        return "It names another recipient."
    if report.domain and report.domain.lower() != domain:
        return "It was sent from another domain."
    return ""


def _sent_by(attempt: Attempt) -> tuple[str, str]:
    """Service and domain as they were then; of an attempt that was stored without them, as they are configured now."""
    if attempt.service:
        return attempt.service, attempt.domain
    used, sender = accounts.account(attempt.provider), attempt.message.sender
    if used:
        return used.esp, used.domain_for(sender)
    return attempt.provider, accounts.address_domain(sender).lower()


def _same_recipient(report: Report, attempt: Attempt) -> bool:
    if not report.recipient:
        return report.meaning.news == News.REJECTED
    return ascii_address(report.recipient) == ascii_address(attempt.message.address)


def _believed(report: Report, attempt: Attempt) -> Event:
    event = _event(report)
    event.attempt, event.message, event.key = attempt, attempt.message, report.key
    event.provider = attempt.provider
    if attempt.message.erased_at:
        event.raw = None
    return event


def _disregarded(report: Report, objection: str) -> Event:
    """It has no effect and belongs to no message; it is kept to be looked at, for a while (mail.events.apply)."""
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


def _stored(events: list[Event]) -> list[Event]:
    """Insert those whose key is new; of two at the same time the database lets the second wait for the first."""
    if not events:
        return []
    Event.objects.bulk_create(events, ignore_conflicts=True)
    stored = set(Event.objects.filter(pk__in=[event.pk for event in events]).values_list("pk", flat=True))
    return [event for event in events if event.pk in stored]


def _log_taken(event: Event) -> None:
    log.info(
        "event_taken",
        event_id=str(event.pk),
        message_id=event.message_id and str(event.message_id),
        provider=event.provider,
        type=event.type,
        source=event.source,
        recipient=mask_address(event.message.address) if event.message else None,
        disregarded=event.disregarded,
    )
