"""How fast mail is sent: the table of rates per provider and per receiver, the warm-up, and their arithmetic. Pure.

A bucket is one provider or one receiver. It keeps one moment, `taken_until`: with each message that moment moves on by
the bucket's interval, so it lies ahead of now by as many places as were taken too early (the generic cell rate
algorithm, ITU-T I.371).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from mail.importance import Importance


@dataclass(frozen=True, slots=True)
class Rate:
    """So many messages in so many seconds."""

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
"""Domains whose mail one receiver takes, and by which of them its rate is named."""

RATES: Mapping[str, Rate] = {
    "gmail.com": Rate(20, 1),
    "outlook.com": Rate(10, 1),
    "yahoo.com": Rate(10, 1),
    "icloud.com": Rate(5, 1),
    "gmx.net": Rate(5, 1),
}
"""Of receivers; providers and all others have none unless MAIL_RATES says so. Proposals: nobody publishes numbers."""

WARM_UP = (50, 100, 500, 1_000, 5_000, 10_000, 20_000, 40_000, 70_000, 100_000, 150_000, 250_000, 400_000, 600_000)
"""Messages on the first, second, … day of a provider's warm-up; then there is no bound. A proposal, in the order of
magnitude of the schedules that providers publish."""

PLACES: Mapping[Importance, Mapping[bool, int | None]] = {
    Importance.CRITICAL: {True: None, False: None},
    Importance.NORMAL: {True: 10, False: None},
    Importance.BULK: {True: 5, False: 5},
}
"""How many places too early a message may be, at a provider (True) and at a receiver (False); None: it never waits. As
normal mail has more of them, it finds a place while bulk mail takes all that it can get."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A provider (its account's name) or a receiver (a domain), and how far its places are taken.

    planned_until: when the last message that had to wait is to come back.
    """

    name: str
    rate: Rate
    taken_until: datetime
    planned_until: datetime

    @property
    def is_provider(self) -> bool:
        return "." not in self.name


def take(buckets: Sequence[Bucket], importance: Importance, now: datetime) -> tuple[list[Bucket], datetime]:
    """Take a place in all of these buckets, or in none; the changed buckets, and when the message may go.

    A moment after now says that it has to wait: no place was taken, and it comes back then, in turn with others.
    """
    if all(_fits(bucket, importance, now) for bucket in buckets):
        return [_taken(bucket, now) for bucket in buckets], now
    full = [_planned(bucket, now) for bucket in buckets if not _fits(bucket, importance, now)]
    return full, max(bucket.planned_until for bucket in full)


def receiver_of(address: str) -> str:
    """Who takes the mail of this address, as far as the table knows."""
    domain = address.rpartition("@")[2]
    return RECEIVERS.get(domain, domain)


def rate_of(name: str, given: Mapping[str, tuple[int, int]], warm_up: Mapping[str, date], today: date) -> Rate | None:
    """The rate of a provider or receiver on this day; None is without bound. given: settings.MAIL_RATES."""
    usual = Rate(*given[name]) if name in given else RATES.get(name)
    warm = _warm(warm_up.get(name), today)
    rates = [rate for rate in (usual, warm) if rate]
    return max(rates, key=lambda rate: rate.interval, default=None)


def _fits(bucket: Bucket, importance: Importance, now: datetime) -> bool:
    places = PLACES[importance][bucket.is_provider]
    return places is None or bucket.taken_until - now <= (places - 1) * bucket.rate.interval


def _taken(bucket: Bucket, now: datetime) -> Bucket:
    return replace(bucket, taken_until=max(bucket.taken_until, now) + bucket.rate.interval)


def _planned(bucket: Bucket, now: datetime) -> Bucket:
    return replace(bucket, planned_until=max(bucket.planned_until, bucket.taken_until, now) + bucket.rate.interval)


def _warm(first_day: date | None, today: date) -> Rate | None:
    day = (today - first_day).days if first_day else len(WARM_UP)
    return Rate(WARM_UP[max(day, 0)], UNITS["day"]) if day < len(WARM_UP) else None
