"""Asking a provider what it knows of a message. Of Anymail's providers only Mailgun can be asked, by its events."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import requests
import structlog
from django.conf import settings

from mail import reports
from mail.accounts import Account
from mail.models import Attempt
from mail.reports import NotAnEvent, Report

log = structlog.get_logger(__name__)

MARGIN = timedelta(minutes=5)
"""Before the attempt began by our clock; the provider's may be another."""
PER_PAGE = 300
MOST_PAGES = 20

Item = dict[str, Any]
"""An event as Mailgun's events API writes it."""


def can_ask(found: Account | None) -> bool:
    return found is not None and found.esp == reports.MAILGUN


def reports_of(attempt: Attempt, found: Account) -> list[Report] | None:
    """All that the provider says of this attempt; None when it could not be asked."""
    try:
        read = [report for item in _events(attempt, found) if (report := _report(item))]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        log.warning("look_up_failed", attempt_id=str(attempt.pk), provider=found.name, error=type(error).__name__)
        return None
    return [report for report in read if report.attempt_id == attempt.pk]


def _events(attempt: Attempt, found: Account) -> Iterator[Item]:
    """What happened to the recipient's mail since the attempt began (Mailgun, "Events")."""
    base = found.options.get("api_url", "https://api.mailgun.net/v3").rstrip("/")
    url = f"{base}/{found.domain_for(attempt.message.sender)}/events"
    wanted = {
        "recipient": attempt.message.address,
        "begin": _seconds(attempt.started_at - MARGIN),
        "ascending": "yes",
        "limit": str(PER_PAGE),
    }
    page = _page(url, found, wanted)
    for _ in range(MOST_PAGES):
        yield from page["items"]
        if len(page["items"]) < PER_PAGE:
            return
        page = _page(page["paging"]["next"], found, {})


def _page(url: str, found: Account, wanted: dict[str, str]) -> dict[str, Any]:
    key = found.options.get("api_key", "")
    answer = requests.get(url, params=wanted, auth=("api", key), timeout=settings.MAIL_TIMEOUT)
    answer.raise_for_status()
    page: dict[str, Any] = answer.json()
    return page


def _report(item: Item) -> Report | None:
    try:
        return reports.of_mailgun(item)
    except NotAnEvent:
        log.warning("look_up_brought_no_event")
        return None


def _seconds(moment: datetime) -> str:
    return f"{moment.timestamp():.0f}"
