"""Reading the providers' event logs by time: what a webhook has not told comes back, whatever the message's status.

Page by page, with a stored position for each domain. mail.receiver takes the events as it takes those of webhooks.
"""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.utils import timezone

from mail import receiver
from mail.accounts import Account
from mail.lookups import PER_PAGE, denied, readable, seconds
from mail.mailgun_api import UNREADABLE, Denied, MailgunApi, mailgun_accounts
from mail.models import Event, EventLogPosition

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
        except UNREADABLE as error:
            log.warning("event_log_not_read", provider=account.name, error=type(error).__name__)
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
        counts["read"] += len(items)
        counts["news"] += len(receiver.take_many(list(readable(items)), Event.Source.LOOKUP))
        _move(position, _time(items[-1]))
        if time.monotonic() > ends_at:
            return
    _move(position, end)


def _move(position: EventLogPosition, read_until: datetime) -> None:
    """Never back: of two that read the same log the one that is ahead has read it all."""
    own = EventLogPosition.objects.filter(pk=position.pk, read_until__lt=read_until)
    own.update(read_until=read_until)


def _time(item: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(float(item["timestamp"]), UTC)
