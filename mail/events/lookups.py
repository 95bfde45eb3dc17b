"""Asking a provider what it knows of a message. Of Anymail's providers only Mailgun can be asked, by its events."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import structlog

from mail import alerts
from mail.events import provider_event
from mail.events.provider_event import NotAnEvent, Report
from mail.models import Attempt
from mail.providers.accounts import Account
from mail.providers.mailgun_api import ESP, Denied, MailgunApi, NoAnswer

log = structlog.get_logger(__name__)

MARGIN = timedelta(minutes=5)
"""Before the attempt began by our clock; the provider's may be another."""
PER_PAGE = 300
MOST_PAGES = 20
DENIED = "its API key may not read events: unclear and silent mail cannot be looked up; use a full key"


def can_ask(found: Account | None) -> bool:
    return found is not None and found.esp == ESP


def reports_of(attempt: Attempt, found: Account) -> list[Report] | None:
    """All that the provider says of this attempt; None when it could not be asked."""
    try:
        read = list(_events(attempt, found))
    except Denied:
        denied(found)
        return None
    except NoAnswer as error:
        log.warning("look_up_failed", attempt_id=str(attempt.pk), provider=found.name, error=str(error))
        return None
    return [report for report in read if report.attempt_id == attempt.pk]


def denied(found: Account) -> None:
    """Tell operators that the account may not read events."""
    alerts.alert_once("events_not_readable", DENIED, provider=found.name)


def readable(items: list[dict[str, Any]]) -> Iterator[Report]:
    """The events among the items of a page of Mailgun's events API."""
    for item in items:
        try:
            yield provider_event.of_mailgun(item)
        except NotAnEvent:
            log.warning("look_up_brought_no_event")


def _events(attempt: Attempt, found: Account) -> Iterator[Report]:
    """What happened to the recipient's mail since the attempt began (Mailgun, "Events")."""
    domain = attempt.domain or found.domain_for(attempt.message.sender)
    wanted = {
        "recipient": attempt.message.address,
        "begin": seconds(attempt.started_at - MARGIN),
        "ascending": "yes",
        "limit": str(PER_PAGE),
    }
    with MailgunApi(found) as api:
        for items in islice(api.pages(f"{domain}/events", **wanted), MOST_PAGES):
            yield from readable(items)


def seconds(moment: datetime) -> str:
    """As Mailgun takes times: whole seconds since 1970, rounded down."""
    return str(int(moment.timestamp()))
