"""Stores reported events: matches each to an attempt, believes or disregards it, stores it once, submits its job.

Called by mail.webhooks.views, mail.events.event_log and mail.sending.ambiguous; the job runs mail.events.apply.
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
from mail.events.classify import EventType
from mail.events.provider_event import ProviderEvent
from mail.models import Attempt, Event
from mail.providers import accounts

log = structlog.get_logger(__name__)

KIND = "mail.event"
"""The job that applies an event."""
FORGOTTEN = "Its recipient was forgotten."


@receiver(tracking, dispatch_uid="mail.events.ingest")
def ingest_anymail(sender: Any, event: Any, **_: object) -> None:
    """Receives the events of Anymail's views, which mail.webhooks.views wraps."""
    ingest(provider_event.from_anymail(event, sender.esp))


def ingest(reported: ProviderEvent, source: str = Event.Source.WEBHOOK) -> Event | None:
    """Store an event and submit the job that applies it; None if it is stored already."""
    return next(iter(ingest_many([reported], source)), None)


def ingest_many(many: Sequence[ProviderEvent], source: str) -> list[Event]:
    """As ingest(), for several events; returns those that are new.

    An event that matches no attempt is kept only from a webhook: a provider's log has other senders' mail, too.
    """
    if len(many) > 1:
        many = _not_stored(many)
    attempts, events = _Attempts(many), []
    for reported in many:
        attempt = attempts.matching(reported)
        if attempt or source == Event.Source.WEBHOOK:
            events.append(_event(reported, attempt, source))
    with transaction.atomic():
        stored = _store(events)
        if params := [{"event": str(event.pk)} for event in stored if not event.disregarded]:
            submit_many(KIND, params)
    for event in stored:
        _log_stored(event)
    return stored


def _not_stored(many: Sequence[ProviderEvent]) -> list[ProviderEvent]:
    """Most events of a provider's log are stored already: their webhooks have come."""
    by_key = {reported.key: reported for reported in many}
    stored = set(Event.objects.filter(key__in=by_key).values_list("key", flat=True))
    return [reported for key, reported in by_key.items() if key not in stored]


class _Attempts:
    """The attempts of reported events, without the bodies of their messages.

    Matched by our attempt_id if the event has it: a webhook may come before the API's answer with the provider's id.
    """

    def __init__(self, many: Sequence[ProviderEvent]) -> None:
        rows = Attempt.objects.select_related("message").defer("message__text", "message__html")
        self._by_id = rows.in_bulk({reported.attempt_id for reported in many if reported.attempt_id})
        ids = {reported.message_id for reported in many if reported.message_id and not reported.attempt_id}
        found = (
            rows.filter(provider_message_id__in=[form for each in ids for form in (each, f"<{each}>")]) if ids else ()
        )
        self._by_message_id = {attempt.provider_message_id.strip("<>"): attempt for attempt in found}

    def matching(self, reported: ProviderEvent) -> Attempt | None:
        if reported.attempt_id:
            return self._by_id.get(reported.attempt_id)
        return self._by_message_id.get(reported.message_id)


def _event(reported: ProviderEvent, attempt: Attempt | None, source: str) -> Event:
    """The row to insert. A disregarded event belongs to no message and has no effect; it is kept for a while."""
    found = reported.classification
    event = Event(
        source=source,
        provider=reported.esp,
        type=found.type[:50],
        failure_class=found.failure.kind if found.failure else "",
        at=reported.at or timezone.now(),
        detail=found.detail,
        raw=reported.raw,
    )
    objection = _objection(reported, attempt)
    if attempt and not objection:
        event.attempt, event.message, event.key = attempt, attempt.message, reported.key
        event.provider = attempt.provider
        if attempt.message.erased_at:
            event.raw = None
        return event
    event.disregarded, event.key = objection, reported.disregarded_key
    if objection == FORGOTTEN:
        event.raw, event.detail = None, ""
    return event


def _objection(reported: ProviderEvent, attempt: Attempt | None) -> str:
    """Why the event is not believed; empty if it is. Mailgun's signature covers a time and a token, not the content."""
    if attempt is None:
        return "It matches no attempt of ours."
    service, domain = _service_and_domain(attempt)
    if service != reported.esp:
        return f"The message was not given to {reported.esp}."
    if not attempt.message.address:
        return FORGOTTEN
    if not _same_recipient(reported, attempt):
        return "It names another recipient."
    if reported.domain and reported.domain.lower() != domain:
        return "It was sent from another domain."
    return ""


def _service_and_domain(attempt: Attempt) -> tuple[str, str]:
    """As they were when it was sent; for an attempt stored without them, as they are configured now."""
    if attempt.service:
        return attempt.service, attempt.domain
    account, sender = accounts.find(attempt.provider), attempt.message.sender
    if account:
        return account.esp, account.domain_for(sender)
    return attempt.provider, accounts.address_domain(sender).lower()


def _same_recipient(reported: ProviderEvent, attempt: Attempt) -> bool:
    if not reported.recipient:
        return reported.classification.type == EventType.REJECTED
    return ascii_address(reported.recipient) == ascii_address(attempt.message.address)


def _store(events: list[Event]) -> list[Event]:
    """Insert the events whose key is new; a concurrent insert of the same key waits in the database."""
    if not events:
        return []
    Event.objects.bulk_create(events, ignore_conflicts=True)
    stored = set(Event.objects.filter(pk__in=[event.pk for event in events]).values_list("pk", flat=True))
    return [event for event in events if event.pk in stored]


def _log_stored(event: Event) -> None:
    log.info(
        "event_stored",
        event_id=str(event.pk),
        message_id=event.message_id and str(event.message_id),
        provider=event.provider,
        type=event.type,
        source=event.source,
        recipient=mask_address(event.message.address) if event.message else None,
        disregarded=event.disregarded,
    )
