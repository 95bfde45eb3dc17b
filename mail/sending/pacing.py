"""Rate limits: a message waits until its provider and its receiver may get another one (mail.sending.rates)."""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from jobs.errors import RetryAfter
from mail.importance import Importance
from mail.models import Message, RateBucket
from mail.providers.accounts import Account, accounts
from mail.sending import rates
from mail.sending.rates import Bucket, Rate

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 10
"""A broadcast has as many messages queued as can be sent in this time, and at least MIN_WINDOW."""
MIN_WINDOW = 20


def reserve_slot(message: Message, account: Account) -> None:
    """Count this message against both limits. Raises RetryAfter if one is reached; critical mail never waits."""
    limited = _limits(message, account)
    if not limited:
        return
    now = timezone.now()
    with transaction.atomic():
        rows = RateBucket.objects.locked([name for name, _ in limited], now)
        buckets = [Bucket(name, rate, rows[name].taken_until, rows[name].planned_until) for name, rate in limited]
        changed, send_at = rates.reserve(buckets, Importance(message.importance), now)
        for bucket in changed:
            RateBucket.objects.filter(pk=bucket.name).update(
                taken_until=bucket.taken_until, planned_until=bucket.planned_until
            )
    if send_at > now:
        expiry = max(message.expires_at - now, timedelta(seconds=1))
        raise RetryAfter(
            min(send_at - now, expiry).total_seconds(), "the rate limit of its provider or receiver is reached"
        )


def is_limited(message: Message, account: Account) -> bool:
    """True if its provider or its receiver has a rate."""
    return bool(_limits(message, account))


def rate_of(name: str) -> Rate | None:
    """Today's rate of this provider or receiver; None is unlimited."""
    return rates.rate_of(name, settings.MAIL_RATES, settings.MAIL_WARM_UP, timezone.now().date())


def broadcast_window(most: int) -> int:
    """How many messages of a broadcast may be queued, by the rate of the first provider; `most` at most."""
    rate = rate_of(accounts()[0].name)
    if rate is None:
        return most
    return min(most, max(MIN_WINDOW, int(timedelta(seconds=WINDOW_SECONDS) / rate.interval)))


def limited_names() -> list[str]:
    """All providers, and the receivers that have a rate."""
    receivers = {name for name in (*rates.RATES, *settings.MAIL_RATES) if "." in name}
    return [*(account.name for account in accounts()), *sorted(receivers)]


def _limits(message: Message, account: Account) -> list[tuple[str, Rate]]:
    """The buckets that a message is counted in, with their rates."""
    names = (account.name, rates.receiver_of(message.address))
    return [(name, rate) for name in names if (rate := rate_of(name))]
