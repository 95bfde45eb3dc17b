"""How providers are doing, as all workers see it: a circuit breaker and a pause for each, kept in the database.

Each process looks at most once a second; what it does itself it knows at once.
"""

import threading
import time
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models.queryset import delete_in_batches
from mail.models import DomainBlock, Provider, Slowdown

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds for which what was seen is believed."""
FAILURES_IN_A_ROW = 5
"""As many open the breaker."""
LONGEST_OPEN = timedelta(minutes=10)
BLOCKED_ADDRESSES, BLOCKED_WITHIN = 3, timedelta(hours=1)
"""So many addresses of a domain whose mail was blocked, within that time, slow its bulk mail down."""
A_PROBE_TAKES = timedelta(seconds=60)
"""While one message tries a provider whose breaker is open, the others wait so long for what comes of it."""


class _View:
    """What this process has seen last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stale_at = 0.0
        self.providers: dict[str, Provider] = {}
        self.slow: dict[str, datetime] = {}

    def fresh(self) -> "_View":
        with self.lock:
            if time.monotonic() >= self.stale_at:
                self.providers = Provider.objects.in_bulk()
                self.slow = dict(Slowdown.objects.filter(until__gt=Now()).values_list("domain", "until"))
                self.stale_at = time.monotonic() + LOOK_EVERY
            return self


_view = _View()


def look_again() -> None:
    """Believe nothing that was seen before now."""
    _view.stale_at = 0.0


def seen(name: str) -> Provider:
    """How the provider of this name is doing."""
    return _view.fresh().providers.get(name) or Provider(name=name)


def slow_until(domain: str) -> datetime | None:
    """Until when this domain gets no bulk mail; None when it gets everything."""
    until = _view.fresh().slow.get(domain)
    return until if until and until > timezone.now() else None


def worked(name: str) -> bool:
    """A call has been answered as it should: whatever was wrong is over. Says whether the breaker was open."""
    before = seen(name)
    if not before.failures and not before.open_until:
        return False
    closed = Provider.objects.filter(name=name, opened_at__isnull=False).update(opened_at=None, reason="")
    Provider.objects.filter(name=name).update(failures=0, open_until=None)
    look_again()
    if closed:
        log.info("provider_closed", provider=name)
    return bool(closed)


def failed(name: str, reason: str, *, probing: bool = False, at_once: bool = False) -> bool:
    """A call has failed in a way that speaks against the provider; says whether that has opened its breaker now.

    at_once: it need not be repeated for that. probing: the call was the one by which an open breaker is tried.
    """
    with transaction.atomic():
        Provider.objects.get_or_create(name=name)
        provider = Provider.objects.select_for_update().get(name=name)
        already_open = provider.opened_at is not None
        if already_open and not probing:
            return False  # it began before the breaker opened
        failures = max(provider.failures + 1, FAILURES_IN_A_ROW if at_once else 0)
        changes: dict[str, object] = {"failures": failures}
        if failures >= FAILURES_IN_A_ROW:
            changes |= {"open_until": Now() + _open_for(failures), "reason": reason[:500]}
            changes |= {} if already_open else {"opened_at": Now()}
        Provider.objects.filter(name=name).update(**changes)
    look_again()
    opened = "opened_at" in changes
    if opened:
        log.warning("provider_opened", provider=name, reason=reason)
    return opened


def pause(name: str, seconds: timedelta, reason: str) -> None:
    """The provider takes nothing for a while because it asked for that; the longest pause counts."""
    Provider.objects.get_or_create(name=name)
    until = timezone.now() + seconds
    sooner = Q(paused_until=None) | Q(paused_until__lt=until)
    if Provider.objects.filter(sooner, name=name).update(paused_until=until, reason=reason[:500]):
        log.warning("provider_paused", provider=name, seconds=seconds.total_seconds())
    look_again()


def blocked(domain: str, digest: str, seconds: timedelta) -> bool:
    """A server of this domain has blocked mail to this address; says whether that has slowed the domain down now.

    One event, or one address again and again, does not do it: BLOCKED_ADDRESSES within BLOCKED_WITHIN do.
    """
    with transaction.atomic():
        DomainBlock.objects.create(domain=domain, digest=digest)
        lately = DomainBlock.objects.filter(domain=domain, at__gt=Now() - BLOCKED_WITHIN)
        if lately.values("digest").distinct().count() < BLOCKED_ADDRESSES:
            return False
        DomainBlock.objects.filter(domain=domain).delete()  # they have had their effect
        slow_down(domain, seconds)
    log.warning("domain_slowed_down", domain=domain, seconds=seconds.total_seconds())
    return True


def slow_down(domain: str, seconds: timedelta) -> None:
    """No bulk mail goes to this domain for a while."""
    Slowdown.objects.update_or_create(domain=domain, defaults={"until": timezone.now() + seconds})
    look_again()


def old_blocks() -> int:
    """Forget what has no effect any more; returns how many."""
    now = timezone.now()
    ended = Slowdown.objects.filter(until__lt=now).delete()[0]
    return ended + delete_in_batches(DomainBlock.objects.filter(at__lt=now - BLOCKED_WITHIN))


def may_probe(name: str) -> bool:
    """Whether this call may be the one that tries a provider whose breaker has been open for long enough."""
    due = Provider.objects.filter(name=name, open_until__lte=Now())
    won = bool(due.update(open_until=Now() + A_PROBE_TAKES, failures=F("failures")))
    look_again()
    return won


def _open_for(failures: int) -> timedelta:
    """Twice as long after each probe that fails."""
    doublings = min(failures - FAILURES_IN_A_ROW, 10)
    seconds: float = settings.MAIL_PROBE_AFTER
    return min(timedelta(seconds=seconds * 2.0**doublings), LONGEST_OPEN)
