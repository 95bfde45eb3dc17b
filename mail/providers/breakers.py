"""How providers are doing, as all workers see it: a circuit breaker and a pause for each, kept in the database.

Each process caches the rows for CACHE_SECONDS; what it writes itself it reads at once.
"""

import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models.queryset import delete_in_batches
from mail.models import DomainBlock, Provider, RefusedSender, Slowdown

log = structlog.get_logger(__name__)

CACHE_SECONDS = 1.0
FAILURES_IN_A_ROW = 5
"""They open the breaker."""
LONGEST_OPEN = timedelta(minutes=10)
BLOCKED_ADDRESSES, BLOCKED_WITHIN = 3, timedelta(hours=1)
"""So many blocked addresses of a domain within this time slow its bulk mail down."""
PROBE_RESERVED_FOR = timedelta(seconds=60)
"""While one message probes an open breaker, others wait so long for the result."""


class _Cache:
    """The rows that this process read last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.expires_at = 0.0
        self.providers: dict[str, Provider] = {}
        self.slowdowns: dict[str, datetime] = {}
        self.refused_senders: dict[tuple[str, str], datetime] = {}

    def fresh(self) -> "_Cache":
        with self.lock:
            if time.monotonic() >= self.expires_at:
                self.providers = Provider.objects.in_bulk()
                self.slowdowns = dict(Slowdown.objects.filter(until__gt=Now()).values_list("domain", "until"))
                refusals = RefusedSender.objects.values_list("provider", "sender", "until")
                self.refused_senders = {(provider, sender): until for provider, sender, until in refusals}
                self.expires_at = time.monotonic() + CACHE_SECONDS
            return self


_cache = _Cache()


def invalidate_cache() -> None:
    _cache.expires_at = 0.0


def state_of(name: str) -> Provider:
    """The provider's row, not older than CACHE_SECONDS; a new one if there is none."""
    return _cache.fresh().providers.get(name) or Provider(name=name)


def slow_until(domain: str) -> datetime | None:
    """Until when this domain gets no bulk mail; None if it gets all."""
    until = _cache.fresh().slowdowns.get(domain)
    return until if until and until > timezone.now() else None


def refused_senders() -> Mapping[tuple[str, str], datetime]:
    """Until when providers are not tried again with mail of senders that they refused, by provider and address."""
    return _cache.fresh().refused_senders


def record_success(name: str) -> bool:
    """A call was answered properly: close the breaker. True if it was open."""
    before = state_of(name)
    if not before.failures and not before.open_until and not before.refused_domains:
        return False
    with transaction.atomic():  # locked: a failure recorded in between would be half undone
        provider = Provider.objects.select_for_update().filter(name=name).first()
        closed = provider is not None and provider.opened_at is not None
        changes: dict[str, object] = {"opened_at": None, "reason": ""} if closed else {}
        Provider.objects.filter(name=name).update(failures=0, open_until=None, refused_domains=[], **changes)
    invalidate_cache()
    if closed:
        log.info("provider_closed", provider=name)
    return closed


def record_failure(name: str, reason: str, *, probing: bool = False, at_once: bool = False) -> bool:
    """A call failed by the provider's fault. True if that opened its breaker.

    at_once: one failure opens it. probing: the call was the probe of the open breaker.
    """
    with transaction.atomic():
        Provider.objects.get_or_create(name=name)
        provider = Provider.objects.select_for_update().get(name=name)
        already_open = provider.opened_at is not None
        if already_open and not probing:
            return False  # the call began before the breaker opened
        failures = max(provider.failures + 1, FAILURES_IN_A_ROW if at_once else 0)
        changes: dict[str, object] = {"failures": failures}
        if failures >= FAILURES_IN_A_ROW:
            changes |= {"open_until": Now() + _open_for(failures), "reason": reason[:500]}
            changes |= {} if already_open else {"opened_at": Now()}
        Provider.objects.filter(name=name).update(**changes)
    invalidate_cache()
    opened = "opened_at" in changes
    if opened:
        log.warning("provider_opened", provider=name, reason=reason)
    return opened


def open_by_hand(name: str, reason: str) -> None:
    """An operator keeps mail away from a provider. After LONGEST_OPEN one message tries it again."""
    Provider.objects.get_or_create(name=name)
    opened = {"opened_at": Now(), "open_until": Now() + LONGEST_OPEN, "reason": reason[:500]}
    Provider.objects.filter(name=name).update(**opened, failures=FAILURES_IN_A_ROW)
    invalidate_cache()
    log.warning("provider_opened", provider=name, reason=reason)


def _open_for(failures: int) -> timedelta:
    """Twice as long after each failed probe."""
    doublings = min(failures - FAILURES_IN_A_ROW, 10)
    seconds: float = settings.MAIL_PROBE_AFTER
    return min(timedelta(seconds=seconds * 2.0**doublings), LONGEST_OPEN)


def reserve_probe(name: str) -> bool:
    """True if the caller may probe this provider, whose breaker has been open long enough; others wait meanwhile."""
    due = Provider.objects.filter(Q(open_until__lte=Now()) | Q(open_until=None), name=name, opened_at__isnull=False)
    reserved = bool(due.update(open_until=Now() + PROBE_RESERVED_FOR, failures=F("failures")))
    invalidate_cache()
    return reserved


def pause(name: str, seconds: timedelta, reason: str) -> None:
    """The provider asked for a pause; a longer one that it asked for before stays."""
    Provider.objects.get_or_create(name=name)
    until = timezone.now() + seconds
    sooner = Q(paused_until=None) | Q(paused_until__lt=until)
    if Provider.objects.filter(sooner, name=name).update(paused_until=until, reason=reason[:500]):
        log.warning("provider_paused", provider=name, seconds=seconds.total_seconds())
    invalidate_cache()


def record_block(domain: str, digest: str, slow_for: timedelta) -> bool:
    """A server of this domain blocked mail to the address of this digest. True if that slowed the domain down.

    It takes blocks of BLOCKED_ADDRESSES different addresses within BLOCKED_WITHIN.
    """
    with transaction.atomic():
        DomainBlock.objects.create(domain=domain, digest=digest)
        recent = DomainBlock.objects.filter(domain=domain, at__gt=Now() - BLOCKED_WITHIN)
        if recent.values("digest").distinct().count() < BLOCKED_ADDRESSES:
            return False
        DomainBlock.objects.filter(domain=domain).delete()  # they count once
        slow_domain(domain, slow_for)
    log.warning("domain_slowed_down", domain=domain, seconds=slow_for.total_seconds())
    return True


def slow_domain(domain: str, slow_for: timedelta) -> None:
    """Send no bulk mail to this domain for so long."""
    Slowdown.objects.update_or_create(domain=domain, defaults={"until": timezone.now() + slow_for})
    invalidate_cache()


def delete_old_blocks() -> int:
    """Delete blocks and slowdowns that have no effect any more; returns how many."""
    now = timezone.now()
    ended = Slowdown.objects.filter(until__lt=now).delete()[0]
    return ended + delete_in_batches(DomainBlock.objects.filter(at__lt=now - BLOCKED_WITHIN))
