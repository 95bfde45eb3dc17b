"""Senders whose mail a provider refuses: an unverified domain or address, or a key for other domains.

Such a refusal is the sender's own. Its mail waits or goes to another provider, and all other mail goes on. Only when a
provider refuses the senders of several domains and accepts nothing in between, the account itself is taken for refused.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from email.utils import parseaddr

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from mail.models import Provider, RefusedSender
from mail.providers import breakers

log = structlog.get_logger(__name__)

REFUSED_DOMAINS = 3
"""The breaker opens when the senders of this many domains were refused in a row."""
FORGET_AFTER = timedelta(days=7)


def refused_until(provider: str, sender: str) -> datetime | None:
    """When this provider may be tried again with mail of this sender (a From header); None is now."""
    refused = breakers.refused_senders()
    until = refused.get((provider, parseaddr(sender)[1].lower())) if refused else None
    return until if until and until > timezone.now() else None


def record_refusal(provider: str, sender: str, reason: str, *, probing: bool) -> bool:
    """The provider refused this sender. True if that opened its breaker.

    probing: the call was the probe of its open breaker, which another sender's message may repeat at once.
    """
    address = parseaddr(sender)[1].lower()
    with transaction.atomic():
        Provider.objects.get_or_create(name=provider)
        state = Provider.objects.select_for_update().get(name=provider)
        row, _ = RefusedSender.objects.get_or_create(provider=provider, sender=address, defaults={"until": Now()})
        wait = min(timedelta(seconds=settings.MAIL_PROBE_AFTER * 2.0 ** min(row.times, 10)), breakers.LONGEST_OPEN)
        RefusedSender.objects.filter(pk=row.pk).update(
            times=row.times + 1, until=Now() + wait, refused_at=Now(), reason=reason[:500]
        )
        if probing:
            Provider.objects.filter(name=provider).update(open_until=Now())
        domains = sorted({*state.refused_domains, address.rpartition("@")[2]})
        Provider.objects.filter(name=provider).update(refused_domains=domains[:REFUSED_DOMAINS])
    breakers.invalidate_cache()
    log.warning("sender_refused", provider=provider, domain=address.rpartition("@")[2], seconds=wait.total_seconds())
    if state.opened_at or len(domains) < REFUSED_DOMAINS:
        return False
    return breakers.record_failure(
        provider, f"it refuses the senders of {len(domains)} domains: {reason}", at_once=True
    )


def record_acceptance(provider: str, senders: Iterable[str]) -> bool:
    """The provider accepted mail of these senders. True if it had refused one of them."""
    refused = breakers.refused_senders()
    if not refused:
        return False
    addresses = {parseaddr(sender)[1].lower() for sender in senders}
    known = [address for address in addresses if (provider, address) in refused]
    if not known:
        return False
    RefusedSender.objects.filter(provider=provider, sender__in=known).delete()
    breakers.invalidate_cache()
    log.info("sender_accepted", provider=provider, count=len(known))
    return True


def delete_old() -> int:
    """Forget refusals of senders that have sent nothing for a long time; returns how many."""
    return RefusedSender.objects.filter(refused_at__lt=Now() - FORGET_AFTER).delete()[0]
