"""The rate limiter's arithmetic: no bucket exceeds its rate, and important mail gets through."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.importance import Importance
from mail.sending import rates
from mail.sending.rates import BURST, WARM_UP, Bucket, Rate

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BULK, NORMAL, CRITICAL = Importance.BULK, Importance.NORMAL, Importance.CRITICAL
moments = st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from([BULK, NORMAL])), max_size=200)


def make_bucket() -> Bucket:
    return Bucket("mailgun", Rate(10, 1), NOW, NOW)


def taken(bucket: Bucket, importance: Importance, now: datetime = NOW) -> tuple[Bucket, bool]:
    [after], moment = rates.reserve([bucket], importance, now)
    return after, moment == now


@given(moments)
def test_no_more_than_the_rate_goes_out_in_any_time(arrivals: list[tuple[int, Importance]]) -> None:
    bucket, sent = make_bucket(), []
    for milliseconds, importance in sorted(arrivals, key=lambda arrival: arrival[0]):
        now = NOW + timedelta(milliseconds=milliseconds)
        bucket, went = taken(bucket, importance, now)
        sent += [now] if went else []
    most = BURST[NORMAL][True] or 0
    for first, begin in enumerate(sent):
        for last, end in enumerate(sent[first:], first):
            assert last - first + 1 <= (end - begin) / bucket.rate.interval + most


def test_bulk_mail_gets_the_whole_rate_if_there_is_no_other_mail() -> None:
    bucket, came, count = make_bucket(), NOW, 0
    while came < NOW + 10 * SECOND:
        bucket, went = taken(bucket, BULK, came)
        count += went
        came += SECOND / 20
    assert 100 <= count <= 105


def test_waiting_messages_come_back_one_after_the_other() -> None:
    bucket, comes = make_bucket(), []
    for _ in range(105):
        [bucket], moment = rates.reserve([bucket], BULK, NOW)
        comes.append(moment)
    assert comes[:5] == [NOW] * 5
    assert (comes[104] - comes[5]).total_seconds() == pytest.approx(9.9)
    assert len(set(comes[5:])) == 100


def test_normal_mail_gets_through_while_bulk_mail_uses_up_its_burst() -> None:
    bucket = make_bucket()
    went = True
    while went:
        bucket, went = taken(bucket, BULK)
    assert taken(bucket, NORMAL)[1]


def test_critical_mail_never_waits_and_is_counted() -> None:
    bucket = make_bucket()
    for _ in range(100):
        bucket, went = taken(bucket, CRITICAL)
        assert went
    assert not taken(bucket, NORMAL)[1]


@pytest.mark.parametrize(("importance", "waits"), [(BULK, True), (NORMAL, False), (CRITICAL, False)])
def test_at_a_receiver_only_bulk_mail_waits(importance: Importance, waits: bool) -> None:
    full = Bucket("gmail.com", Rate(10, 1), NOW + 60 * SECOND, NOW)
    changed, moment = rates.reserve([make_bucket(), full], importance, NOW)
    assert moment == (full.taken_until + full.rate.interval if waits else NOW)
    assert {bucket.name for bucket in changed} == ({"gmail.com"} if waits else {"mailgun", "gmail.com"})


@pytest.mark.parametrize(
    ("address", "receiver"),
    [
        *[("a@gmail.com", "gmail.com"), ("a@googlemail.com", "gmail.com"), ("a@example.org", "example.org")],
        ('"a@b"@example.org', "example.org"),
    ],
)
def test_domains_of_one_receiver_share_its_rate(address: str, receiver: str) -> None:
    assert rates.receiver_of(address) == receiver


@pytest.mark.parametrize(
    ("day", "rate"),
    [(-3, WARM_UP[0]), (0, WARM_UP[0]), (1, WARM_UP[1]), (len(WARM_UP) - 1, WARM_UP[-1]), (len(WARM_UP), None)],
)
def test_a_warm_up_follows_its_schedule_and_ends(day: int, rate: int | None) -> None:
    first = date(2026, 3, 1)
    found = rates.rate_of("mailgun", {}, {"mailgun": first}, first + timedelta(days=day))
    assert found == (Rate(rate, 86_400) if rate else None)


def test_the_slower_of_rate_and_warm_up_applies() -> None:
    today = date(2026, 3, 1)
    assert rates.rate_of("mailgun", {"mailgun": (1, 86_400)}, {"mailgun": today}, today) == Rate(1, 86_400)
    assert rates.rate_of("mailgun", {"mailgun": (100, 1)}, {"mailgun": today}, today) == Rate(50, 86_400)
    assert rates.rate_of("gmail.com", {"gmail.com": (1, 3600)}, {}, today) == Rate(1, 3600)
    assert rates.rate_of("gmail.com", {}, {}, today) == rates.RATES["gmail.com"]
    assert rates.rate_of("mailgun", {}, {}, today) is None


@pytest.mark.parametrize(("rate", "text"), [(Rate(10, 1), "10/s"), (Rate(5, 60), "5/min"), (Rate(1, 86_400), "1/day")])
def test_a_rate_is_written_as_it_is_set(rate: Rate, text: str) -> None:
    assert str(rate) == text
