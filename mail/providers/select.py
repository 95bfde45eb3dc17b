"""Which provider account takes the next message, and when one will be free."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils import timezone

from mail.importance import Importance
from mail.providers import breakers
from mail.providers.accounts import Account, accounts
from mail.providers.refused_senders import refused_until

WAIT_IF_ALL_REFUSED = timedelta(minutes=5)
"""How long a message waits if all configured providers have refused it. It may expire meanwhile."""


def choose(
    importance: str, excluded: Collection[str] = (), last: Collection[str] = (), sender: str = ""
) -> Account | None:
    """The account that takes a message of this sender (a From header) now; None if there is none.

    last: accounts that are used if no other is free.
    """
    for account in sorted(accounts(), key=lambda account: account.name in last):
        if account.name in excluded or refused_until(account.name, sender):
            continue
        provider, now = breakers.state_of(account.name), timezone.now()
        if provider.paused_until and provider.paused_until > now:
            if importance == Importance.BULK:
                return None  # our bulk mail was too much for this provider; do not flood the next one
            continue
        if not provider.opened_at:
            return account
        if (provider.open_until is None or provider.open_until <= now) and breakers.reserve_probe(account.name):
            return replace(account, probing=True)
    return None


def takes_mail(account: Account, sender: str) -> bool:
    """True if the account is not paused, its breaker is closed, and it does not refuse this sender."""
    provider = breakers.state_of(account.name)
    paused = provider.paused_until and provider.paused_until > timezone.now()
    return not paused and not provider.opened_at and not refused_until(account.name, sender)


def other_is_free(excluded: Collection[str], sender: str) -> bool:
    """True if an account that is not excluded could take a message now."""
    return any(account.name not in excluded and not _free_at(account, sender) for account in accounts())


def other_exists(excluded: Collection[str]) -> bool:
    return any(account.name not in excluded for account in accounts())


def next_free_at(importance: str, excluded: Collection[str] = (), sender: str = "") -> datetime | None:
    """When an account that is not excluded may take a message of this sender; None is now."""
    now = timezone.now()
    possible = [account for account in accounts() if account.name not in excluded]
    pauses = [until for account in possible if (until := breakers.state_of(account.name).paused_until) and until > now]
    if pauses and importance == Importance.BULK:
        return max(pauses)
    times = [_free_at(account, sender) for account in possible]
    if None in times:
        return None
    return min((moment for moment in times if moment), default=now + WAIT_IF_ALL_REFUSED)


def _free_at(account: Account, sender: str) -> datetime | None:
    """When its pause ends, its breaker may be probed and it may be tried with this sender; None is now."""
    provider = breakers.state_of(account.name)
    open_until = provider.open_until if provider.opened_at else None
    times = [provider.paused_until, open_until, refused_until(account.name, sender)]
    ahead = [moment for moment in times if moment and moment > timezone.now()]
    return max(ahead, default=None)
