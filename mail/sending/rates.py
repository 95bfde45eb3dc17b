"""The rates per provider and per receiver, the warm-up, and the rate limiter's arithmetic. Pure.

The generic cell rate algorithm (ITU-T I.371): a bucket, one for each provider and receiver, keeps one time,
`taken_until`, which each message advances by the bucket's interval. How far it is ahead of now is the burst used up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from mail.importance import Importance


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` messages in `seconds`."""

    count: int
    seconds: int

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=self.seconds / self.count)

    def __str__(self) -> str:
        return f"{self.count}/{next(unit for unit, seconds in UNITS.items() if seconds == self.seconds)}"


UNITS = {"s": 1, "min": 60, "h": 3600, "day": 86_400}

RECEIVERS: Mapping[str, str] = {
    **dict.fromkeys(("gmail.com", "googlemail.com"), "gmail.com"),
    **dict.fromkeys(("outlook.com", "hotmail.com", "live.com", "msn.com"), "outlook.com"),
    **dict.fromkeys(("yahoo.com", "ymail.com", "aol.com"), "yahoo.com"),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com"), "icloud.com"),
    **dict.fromkeys(("gmx.de", "gmx.net", "web.de"), "gmx.net"),
}
"""Domains with the same receiver, and the domain that names its rate."""

RATES: Mapping[str, Rate] = {
    "gmail.com": Rate(20, 1),
    "outlook.com": Rate(10, 1),
    "yahoo.com": Rate(10, 1),
    "icloud.com": Rate(5, 1),
    "gmx.net": Rate(5, 1),
}
"""Of receivers; MAIL_RATES adds others, and those of providers. Our own guesses: receivers publish no numbers."""

WARM_UP = (50, 100, 500, 1_000, 5_000, 10_000, 20_000, 40_000, 70_000, 100_000, 150_000, 250_000, 400_000, 600_000)
"""Messages on the first, second, … day of a provider's warm-up; then unlimited. Our own, of the order of magnitude of
the schedules that providers publish."""

BURST: Mapping[Importance, Mapping[bool, int | None]] = {
    Importance.CRITICAL: {True: None, False: None},
    Importance.NORMAL: {True: 10, False: None},
    Importance.BULK: {True: 5, False: 5},
}
"""How many messages may be sent at once, to a provider (True) and to a receiver (False); None: never wait. Normal mail
has a larger burst, so it still gets through while bulk mail uses up its own."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A provider (its account's name) or a receiver (a domain).

    taken_until: see the module. planned_until: when the last message that had to wait comes back.
    """

    name: str
    rate: Rate
    taken_until: datetime
    planned_until: datetime

    @property
    def is_provider(self) -> bool:
        return "." not in self.name


def reserve(buckets: Sequence[Bucket], importance: Importance, now: datetime) -> tuple[list[Bucket], datetime]:
    """Count a message in all of these buckets, or in none. Returns the changed buckets and when it may be sent.

    A time after now: it was not counted, and comes back then, in turn with others.
    """
    if all(_fits(bucket, importance, now) for bucket in buckets):
        counted = [replace(each, taken_until=max(each.taken_until, now) + each.rate.interval) for each in buckets]
        return counted, now
    full = [
        replace(bucket, planned_until=max(bucket.planned_until, bucket.taken_until, now) + bucket.rate.interval)
        for bucket in buckets
        if not _fits(bucket, importance, now)
    ]
    return full, max(bucket.planned_until for bucket in full)


def receiver_of(address: str) -> str:
    """The receiver of this address: by RECEIVERS, else its domain."""
    domain = address.rpartition("@")[2]
    return RECEIVERS.get(domain, domain)


def rate_of(name: str, given: Mapping[str, tuple[int, int]], warm_up: Mapping[str, date], today: date) -> Rate | None:
    """The rate of a provider or receiver on this day; None is unlimited. given: settings.MAIL_RATES."""
    usual = Rate(*given[name]) if name in given else RATES.get(name)
    first_day = warm_up.get(name)
    day = max((today - first_day).days, 0) if first_day else len(WARM_UP)
    warm = Rate(WARM_UP[day], UNITS["day"]) if day < len(WARM_UP) else None
    rates = [rate for rate in (usual, warm) if rate]
    return max(rates, key=lambda rate: rate.interval, default=None)


def _fits(bucket: Bucket, importance: Importance, now: datetime) -> bool:
    burst = BURST[importance][bucket.is_provider]
    return burst is None or bucket.taken_until - now <= (burst - 1) * bucket.rate.interval
