"""Makes a message wait until its provider and its receiver may get another one, by mail.sending.rates."""

from collections.abc import Iterable
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
"""A broadcast has as much mail queued as can be sent in this time, and at least LEAST_WINDOW messages."""
LEAST_WINDOW = 20


def wait_for_a_place(message: Message, account: Account) -> None:
    """Take a place for this message; raises RetryAfter where there is none yet. Critical mail never waits."""
    limited = list(_limited([account.name, rates.receiver_of(message.address)]))
    if not limited:
        return
    now = timezone.now()
    with transaction.atomic():
        rows = RateBucket.objects.locked([name for name, _ in limited], now)
        buckets = [Bucket(name, rate, rows[name].taken_until, rows[name].planned_until) for name, rate in limited]
        changed, moment = rates.take(buckets, Importance(message.importance), now)
        for bucket in changed:
            RateBucket.objects.filter(pk=bucket.name).update(
                taken_until=bucket.taken_until, planned_until=bucket.planned_until
            )
    if moment > now:
        expiry = max(message.expires_at - now, timedelta(seconds=1))
        raise RetryAfter(min(moment - now, expiry).total_seconds(), "its provider or receiver gets mail at a rate")


def rate_of(name: str) -> Rate | None:
    """The rate at which this provider or receiver gets mail today; None is without bound."""
    return rates.rate_of(name, settings.MAIL_RATES, settings.MAIL_WARM_UP, timezone.now().date())


def window(most: int) -> int:
    """How many messages of a broadcast may be queued, as fast as the first provider takes mail; `most` at most."""
    rate = rate_of(accounts()[0].name)
    if rate is None:
        return most
    return min(most, max(LEAST_WINDOW, int(timedelta(seconds=WINDOW_SECONDS) / rate.interval)))


def names() -> list[str]:
    """All providers, and the receivers that have a rate."""
    receivers = {name for name in (*rates.RATES, *settings.MAIL_RATES) if "." in name}
    return [*(account.name for account in accounts()), *sorted(receivers)]


def _limited(wanted: Iterable[str]) -> Iterable[tuple[str, Rate]]:
    return ((name, rate) for name in wanted if (rate := rate_of(name)))
