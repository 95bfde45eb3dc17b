"""The job mail.compare_lists: compares Mailgun's suppression lists with ours.

An address that only the provider has is imported; one that we have lifted is removed from the provider's list.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import structlog
from django.utils import timezone

from jobs.errors import TransientError
from mail import alerts
from mail.addresses.normalize import address_digest
from mail.addresses.parsing import BadAddress, parse_mailbox
from mail.failure import FailureClass
from mail.models import Lift, Suppression
from mail.providers.accounts import Account
from mail.providers.mailgun_api import Denied, MailgunApi, NoAnswer, mailgun_accounts
from mail.reasons import Reason, Scope
from mail.smtp.replies import ServerReply
from mail.suppressions.lifting import LIST_OF_REASON

log = structlog.get_logger(__name__)

MEANING = {
    "bounces": (Reason.BOUNCE, Scope.ALL),
    "complaints": (Reason.COMPLAINT, Scope.ALL),
    "unsubscribes": (Reason.UNSUBSCRIBE, Scope.BULK),
}
"""The reason and scope of each list's entries."""
PER_PAGE = 1000
TEMPORARY = {
    FailureClass.MAILBOX_FULL: (Reason.MAILBOX_FULL, timedelta(days=1)),
    FailureClass.SOFT_BOUNCE: (Reason.SOFT_BOUNCES, timedelta(days=90)),
}
"""The reason and duration of a bounce that the address may recover from; as in mail.policy.rules."""
EVERYTHING = "*"
"""The tag of an unsubscription from all mail of the domain."""
DENIED = "its API key may not read suppressions: lists cannot be compared; use a full key"

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a provider's list or of a file. source: overrides that of import_entries()."""

    address: str
    digest: str
    since: datetime
    reason: Reason
    scope: Scope
    expires_at: datetime | None
    source: str = ""


def compare() -> dict[str, int]:
    """The numbers of entries read, imported, lifted there, and with an unreadable address.

    Raises TransientError if a provider did not answer, after comparing all others.
    """
    counts: Counter[str] = Counter(read=0, imported=0, lifted=0, unreadable=0)
    silent = [account.name for account in mailgun_accounts() if not _compare_account(account, counts)]
    log.info("suppression_lists_compared", **counts)
    if silent:
        raise TransientError(f"suppression lists could not be read: {', '.join(silent)}")
    return dict(counts)


def _compare_account(account: Account, counts: Counter[str]) -> bool:
    """False if it did not answer."""
    try:
        with MailgunApi(account) as api:
            for domain in account.domains:
                for name in MEANING:
                    _compare_list(api, domain, name, counts)
    except Denied:
        alerts.alert_once("suppressions_not_readable", DENIED, provider=account.name)
    except NoAnswer as error:
        log.warning("suppression_lists_not_read", provider=account.name, error=str(error))
        return False
    return True


def _compare_list(api: MailgunApi, domain: str, name: str, counts: Counter[str]) -> None:
    for items in api.pages(f"{domain}/{name}", limit=str(PER_PAGE)):
        entries = [entry for item in items if (entry := parse_item(name, item))]
        counts["read"] += len(items)
        counts["unreadable"] += len(items) - len(entries)
        new = _not_in_force(entries, name)
        lifted = _lifted_here(new, name)
        for entry in lifted:
            counts["lifted"] += api.delete(domain, name, entry.address)
        counts["imported"] += import_entries([entry for entry in new if entry not in lifted], source=api.account.name)


def parse_item(name: str, item: Item) -> Entry | None:
    """An item of Mailgun's list; None if it has no valid address, or is for certain tags only."""
    try:
        address = parse_mailbox(str(item["address"])).address
    except (BadAddress, KeyError, TypeError):
        return None
    if EVERYTHING not in (item.get("tags") or [EVERYTHING]):
        return None
    reason, scope = MEANING[name]
    expires_at = None
    failure = ServerReply.read(item.get("code"), item.get("error")).failure_class()
    if name == "bounces" and failure in TEMPORARY:
        reason, lasts = TEMPORARY[failure]
        expires_at = timezone.now() + lasts
    return Entry(address, address_digest(address), _time(item.get("created_at")), reason, scope, expires_at)


def import_entries(entries: Sequence[Entry], *, source: str) -> int:
    """Suppress these addresses; returns how many are new for their reason and scope."""
    by_key = {(entry.digest, entry.scope, entry.reason): entry for entry in entries}
    digests = {entry.digest for entry in entries}
    known = Suppression.objects.filter(digest__in=digests)
    known.filter(expires_at__lte=timezone.now()).delete()
    forgotten = set(known.filter(address="").values_list("digest", flat=True))
    stored = set(known.values_list("digest", "scope", "reason"))
    rows = [
        Suppression(
            digest=entry.digest,
            address="" if entry.digest in forgotten else entry.address,
            reason=entry.reason,
            scope=entry.scope,
            expires_at=entry.expires_at,
            source=(entry.source or source)[:50],
            created_at=entry.since,
        )
        for key, entry in by_key.items()
        if key not in stored
    ]
    Suppression.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
    return len(rows)


def _not_in_force(entries: Sequence[Entry], name: str) -> list[Entry]:
    """Those that we do not suppress for a reason of this list."""
    rows = Suppression.objects.in_force().filter(**_on_list(entries, name))
    in_force = set(rows.values_list("digest", flat=True))
    return [entry for entry in entries if entry.digest not in in_force]


def _lifted_here(entries: Sequence[Entry], name: str) -> list[Entry]:
    """Those that we have lifted since the provider put them on its list."""
    lifts = Lift.objects.filter(**_on_list(entries, name))
    lifted_at = dict(lifts.order_by("lifted_at").values_list("digest", "lifted_at"))
    return [entry for entry in entries if (at := lifted_at.get(entry.digest)) and at >= entry.since]


def _on_list(entries: Sequence[Entry], name: str) -> dict[str, Any]:
    """The filter for these addresses and the reasons of this list."""
    reasons = [reason for reason, other in LIST_OF_REASON.items() if other == name]
    return {"digest__in": {entry.digest for entry in entries}, "reason__in": reasons}


def _time(text: object) -> datetime:
    """A date as Mailgun writes it (RFC 2822), as UTC; now if there is none."""
    try:
        found = parsedate_to_datetime(str(text))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        return timezone.now()
