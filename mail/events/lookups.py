"""Asks Mailgun's events API about one attempt."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import structlog

from mail import alerts
from mail.events import provider_event
from mail.events.provider_event import NotAnEvent, ProviderEvent
from mail.models import Attempt
from mail.providers.accounts import Account
from mail.providers.mailgun_api import Denied, MailgunApi, NoAnswer

log = structlog.get_logger(__name__)

CLOCK_MARGIN = timedelta(minutes=5)
"""How much before the attempt's start events are read: the provider's clock may differ from ours."""
PER_PAGE = 300
MAX_PAGES = 20
DENIED = "its API key may not read events: ambiguous attempts and lost webhooks cannot be looked up; use a full key"


def events_of_attempt(attempt: Attempt, account: Account) -> list[ProviderEvent] | None:
    """All events of this attempt; None if the provider did not answer or denied access.

    For an unrecorded attempt: the events of all attempts for its message that are not in the database.
    """
    try:
        found = list(_read(attempt, account))
    except Denied:
        alert_denied(account)
        return None
    except NoAnswer as error:
        log.warning("lookup_failed", attempt_id=str(attempt.pk), provider=account.name, error=str(error))
        return None
    if attempt.unrecorded:
        return _of_unknown_attempts(found, attempt.message_id)
    return [reported for reported in found if reported.attempt_id == attempt.pk]


def alert_denied(account: Account) -> None:
    """Tell operators that the account's API key may not read events."""
    alerts.alert_once("events_not_readable", DENIED, provider=account.name)


def parse_items(items: list[dict[str, Any]]) -> Iterator[ProviderEvent]:
    """The events in a page of Mailgun's events API; items that cannot be read are logged and left out."""
    for item in items:
        try:
            yield provider_event.from_mailgun(item)
        except NotAnEvent:
            log.warning("lookup_item_unreadable")


def unix_seconds(moment: datetime) -> str:
    """As Mailgun takes times: whole seconds since 1970, rounded down."""
    return str(int(moment.timestamp()))


def _of_unknown_attempts(found: list[ProviderEvent], message_id: UUID) -> list[ProviderEvent]:
    ours = [reported for reported in found if reported.our_message_id == message_id and reported.attempt_id]
    known = Attempt.objects.in_bulk({reported.attempt_id for reported in ours})
    return [reported for reported in ours if reported.attempt_id not in known]


def _read(attempt: Attempt, account: Account) -> Iterator[ProviderEvent]:
    """All events of the recipient's mail since the attempt began (Mailgun, "Events").

    An unrecorded one may have begun at any time since the message was created.
    """
    began_at = attempt.message.created_at if attempt.unrecorded else attempt.started_at
    domain = attempt.domain or account.domain_for(attempt.message.sender)
    query = {
        "recipient": attempt.message.address,
        "begin": unix_seconds(began_at - CLOCK_MARGIN),
        "ascending": "yes",
        "limit": str(PER_PAGE),
    }
    with MailgunApi(account) as api:
        for items in islice(api.pages(f"{domain}/events", **query), MAX_PAGES):
            yield from parse_items(items)
