"""The providers' own suppression lists, compared with ours: the job mail.compare_lists.

What a provider has and we do not is imported; what we have lifted and it still has is lifted there.
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
from mail.events.classify import Reply
from mail.failure import FailureClass
from mail.models import Lift, Suppression
from mail.providers.accounts import Account
from mail.providers.mailgun_api import Denied, MailgunApi, NoAnswer, mailgun_accounts
from mail.reasons import Reason, Scope
from mail.suppressions.lifting import LISTS

log = structlog.get_logger(__name__)

FACTS = {
    "bounces": (Reason.BOUNCE, Scope.ALL),
    "complaints": (Reason.COMPLAINT, Scope.ALL),
    "unsubscribes": (Reason.UNSUBSCRIBE, Scope.BULK),
}
"""What an entry of each list is to us."""
PER_PAGE = 1000
MAILBOX_FULL_LASTS = timedelta(days=1)
EVERYTHING = "*"
"""The tag of an unsubscription from all of the domain's mail."""
DENIED = "its API key may not read suppressions: lists cannot be compared; use a full key"

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """An address on a provider's list, or of a file. source: empty for that of all entries."""

    address: str
    digest: str
    since: datetime
    reason: Reason
    scope: Scope
    expires_at: datetime | None
    source: str = ""


def compare() -> dict[str, int]:
    """How many entries were read, imported, lifted there, and could not be read as addresses.

    Raises TransientError when a provider did not answer, after all others were compared.
    """
    counts: Counter[str] = Counter(read=0, imported=0, lifted=0, unreadable=0)
    silent = [account.name for account in mailgun_accounts() if not _compared(account, counts)]
    log.info("suppression_lists_compared", **counts)
    if silent:
        raise TransientError(f"suppression lists could not be read: {', '.join(silent)}")
    return dict(counts)


def _compared(account: Account, counts: Counter[str]) -> bool:
    try:
        with MailgunApi(account) as api:
            for domain in account.domains:
                for name in FACTS:
                    _compare_list(api, domain, name, counts)
    except Denied:
        alerts.alert_once("suppressions_not_readable", DENIED, provider=account.name)
    except NoAnswer as error:
        log.warning("suppression_lists_not_read", provider=account.name, error=str(error))
        return False
    return True


def _compare_list(api: MailgunApi, domain: str, name: str, counts: Counter[str]) -> None:
    for items in api.pages(f"{domain}/{name}", limit=str(PER_PAGE)):
        entries = [entry for item in items if (entry := read(name, item))]
        counts["read"] += len(items)
        counts["unreadable"] += len(items) - len(entries)
        unknown = _unknown(entries, name)
        lifted = _lifted(unknown, name)
        for entry in lifted:
            counts["lifted"] += api.delete(domain, name, entry.address)
        counts["imported"] += import_entries([e for e in unknown if e not in lifted], source=api.account.name)


def read(name: str, item: Item) -> Entry | None:
    """An item of a list as Mailgun writes it; None for what is no address, or concerns certain tags only."""
    try:
        address = parse_mailbox(str(item["address"])).address
    except (BadAddress, KeyError, TypeError):
        return None
    if EVERYTHING not in (item.get("tags") or [EVERYTHING]):
        return None
    reason, scope = FACTS[name]
    expires_at = None
    if name == "bounces" and Reply.read(item.get("code"), item.get("error")).failure() == FailureClass.MAILBOX_FULL:
        reason, expires_at = Reason.MAILBOX_FULL, timezone.now() + MAILBOX_FULL_LASTS
    return Entry(address, address_digest(address), _moment(item.get("created_at")), reason, scope, expires_at)


def import_entries(entries: Sequence[Entry], *, source: str) -> int:
    """Suppress these addresses; returns how many were not suppressed for this reason before."""
    facts = {(entry.digest, entry.scope, entry.reason): entry for entry in entries}
    digests = {entry.digest for entry in entries}
    known = Suppression.objects.filter(digest__in=digests)
    known.filter(expires_at__lte=timezone.now()).delete()
    forgotten = set(known.filter(address="").values_list("digest", flat=True))
    taken = set(known.values_list("digest", "scope", "reason"))
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
        for fact, entry in facts.items()
        if fact not in taken
    ]
    Suppression.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
    return len(rows)


def _unknown(entries: Sequence[Entry], name: str) -> list[Entry]:
    """Those that we do not suppress for a reason of this list."""
    reasons = [reason for reason, other in LISTS.items() if other == name]
    in_force = Suppression.objects.in_force().filter(digest__in={entry.digest for entry in entries}, reason__in=reasons)
    known = set(in_force.values_list("digest", flat=True))
    return [entry for entry in entries if entry.digest not in known]


def _lifted(entries: Sequence[Entry], name: str) -> list[Entry]:
    """Those that we have lifted since the provider put them on its list."""
    reasons = [reason for reason, other in LISTS.items() if other == name]
    lifts = Lift.objects.filter(digest__in={entry.digest for entry in entries}, reason__in=reasons)
    lifted_at = dict(lifts.order_by("lifted_at").values_list("digest", "lifted_at"))
    return [entry for entry in entries if (at := lifted_at.get(entry.digest)) and at >= entry.since]


def _moment(text: object) -> datetime:
    """A date as Mailgun writes it (RFC 2822); now where there is none."""
    try:
        found = parsedate_to_datetime(str(text))
    except ValueError:
        return timezone.now()
    return found if found.tzinfo else found.replace(tzinfo=UTC)
