"""Reads the providers' event logs by time, to find events whose webhook was lost.

Page by page, with a stored position for each domain; the events go to mail.events.ingest, as those of webhooks do.
"""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import DataError
from django.utils import timezone

from mail.events import ingest
from mail.events.lookups import PER_PAGE, alert_denied, parse_items, unix_seconds
from mail.events.provider_event import ProviderEvent
from mail.models import Event, EventLogPosition
from mail.providers.accounts import Account
from mail.providers.mailgun_api import Denied, MailgunApi, NoAnswer, mailgun_accounts

log = structlog.get_logger(__name__)

KINDS = "delivered OR failed OR rejected OR complained OR unsubscribed OR opened OR clicked"
"""Events with an effect. That a message was accepted is known from the API's answer, or looked up."""
FIRST_READ = timedelta(days=5)
"""How far back a log is read the first time, and for how long after its domain left the configuration."""
MAX_ROUND_SECONDS = 480.0
"""The next round continues where this one stopped."""


def read_logs() -> Counter[str]:
    """Read all logs up to MAIL_SETTLED_AFTER ago, as events are indexed late. Returns {"read": n, "new": n}."""
    counts: Counter[str] = Counter(read=0, new=0)
    ends_at = time.monotonic() + MAX_ROUND_SECONDS
    for account in mailgun_accounts():
        try:
            with MailgunApi(account) as api:
                for position in _positions(account):
                    _read(api, position, counts, ends_at)
        except Denied:
            alert_denied(account)
        except NoAnswer as error:
            log.warning("event_log_not_read", provider=account.name, error=str(error))
    return counts


def _positions(account: Account) -> list[EventLogPosition]:
    """Of the account's domains, and of those that were configured within FIRST_READ."""
    now = timezone.now()
    for domain in account.domains:
        EventLogPosition.objects.update_or_create(
            provider=account.name,
            domain=domain,
            defaults={"configured_at": now},
            create_defaults={"configured_at": now, "read_until": now - FIRST_READ},
        )
    recent = EventLogPosition.objects.filter(provider=account.name, configured_at__gt=now - FIRST_READ)
    return list(recent.order_by("-configured_at", "pk"))


def _read(api: MailgunApi, position: EventLogPosition, counts: Counter[str], ends_at: float) -> None:
    end = (timezone.now() - settings.MAIL_SETTLED_AFTER).replace(microsecond=0)  # Mailgun takes whole seconds
    if position.read_until >= end:
        return
    period = {"begin": unix_seconds(position.read_until), "end": unix_seconds(end), "ascending": "yes"}
    for items in api.pages(f"{position.domain}/events", **period, event=KINDS, limit=str(PER_PAGE)):
        many = list(parse_items(items))
        counts["read"] += len(items)
        counts["new"] += _ingest(many)
        if times := [reported.at for reported in many if reported.at]:
            _move(position, times[-1])
        if time.monotonic() > ends_at:
            return
    _move(position, end)


def _move(position: EventLogPosition, read_until: datetime) -> None:
    """Never backwards: of two concurrent readers the one that is ahead has read everything before."""
    EventLogPosition.objects.filter(pk=position.pk, read_until__lt=read_until).update(read_until=read_until)


def _ingest(many: Sequence[ProviderEvent]) -> int:
    """How many are new. An event that cannot be stored is skipped, so that it does not block the log."""
    try:
        return len(ingest.ingest_many(many, Event.Source.LOOKUP))
    except DataError:
        if len(many) == 1:
            log.exception("event_not_stored", provider_event_id=many[0].id)
            return 0
        return sum(_ingest([reported]) for reported in many)
