"""Reading the providers' event logs by time: what a webhook has not told comes back, whatever the message's status.

Page by page, with a stored position for each domain. mail.events.ingest takes the events as it takes those of webhooks.
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
from mail.events.lookups import PER_PAGE, denied, readable, seconds
from mail.events.provider_event import Report
from mail.models import Event, EventLogPosition
from mail.providers.accounts import Account
from mail.providers.mailgun_api import Denied, MailgunApi, NoAnswer, mailgun_accounts

log = structlog.get_logger(__name__)

KINDS = "delivered OR failed OR rejected OR complained OR unsubscribed OR opened OR clicked"
"""Events that change something. That a message was accepted is known from the API's answer, or looked up."""
FIRST_READ = timedelta(days=5)
"""How far back a log is read at first, and how long that of a domain which is not configured any more."""
LONGEST_ROUND = 480.0
"""Seconds after which a round ends; the next one goes on from there."""


def read_logs() -> Counter[str]:
    """Read all logs up to MAIL_SETTLED_AFTER ago, as events are indexed late: {"read": n, "news": n}."""
    counts: Counter[str] = Counter(read=0, news=0)
    ends_at = time.monotonic() + LONGEST_ROUND
    for account in mailgun_accounts():
        try:
            with MailgunApi(account) as api:
                for position in _positions(account):
                    _read(api, position, counts, ends_at)
        except Denied:
            denied(account)
        except NoAnswer as error:
            log.warning("event_log_not_read", provider=account.name, error=str(error))
    return counts


def _positions(account: Account) -> list[EventLogPosition]:
    """Of the account's domains, and of those that it sent from lately."""
    now = timezone.now()
    for domain in account.domains:
        EventLogPosition.objects.update_or_create(
            provider=account.name,
            domain=domain,
            defaults={"configured_at": now},
            create_defaults={"configured_at": now, "read_until": now - FIRST_READ},
        )
    lately = EventLogPosition.objects.filter(provider=account.name, configured_at__gt=now - FIRST_READ)
    return list(lately.order_by("-configured_at", "pk"))


def _read(api: MailgunApi, position: EventLogPosition, counts: Counter[str], ends_at: float) -> None:
    end = (timezone.now() - settings.MAIL_SETTLED_AFTER).replace(microsecond=0)  # Mailgun takes whole seconds
    if position.read_until >= end:
        return
    wanted = {"begin": seconds(position.read_until), "end": seconds(end), "ascending": "yes"}
    for items in api.pages(f"{position.domain}/events", **wanted, event=KINDS, limit=str(PER_PAGE)):
        reports = list(readable(items))
        counts["read"] += len(items)
        counts["news"] += _taken(reports)
        if times := [report.at for report in reports if report.at]:
            _move(position, times[-1])
        if time.monotonic() > ends_at:
            return
    _move(position, end)


def _move(position: EventLogPosition, read_until: datetime) -> None:
    """Never back: of two that read the same log the one that is ahead has read it all."""
    own = EventLogPosition.objects.filter(pk=position.pk, read_until__lt=read_until)
    own.update(read_until=read_until)


def _taken(reports: Sequence[Report]) -> int:
    """How many are news. One that cannot be stored is left out, and must not keep the log from being read on."""
    try:
        return len(ingest.take_many(reports, Event.Source.LOOKUP))
    except DataError:
        if len(reports) == 1:
            log.exception("event_not_taken", provider_event_id=reports[0].id)
            return 0
        return sum(_taken([report]) for report in reports)
