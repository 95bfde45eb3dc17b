"""The orders in which a worker tries claims: values, without a database."""

from dataclasses import replace

import pytest

from jobs.models.queue.claim import Claim, orders
from jobs.models.queue.due import STARVED_AFTER

PLAIN = Claim("here:1", kinds=("demo.countdown",), limit=5)
THREADS = Claim("here:1", threads={"mail.send": 2})


@pytest.mark.parametrize("claim", [PLAIN, THREADS])
def test_a_worker_claims_by_priority(claim: Claim) -> None:
    assert list(orders(claim, by_age=False)) == [claim]


@pytest.mark.parametrize("claim", [PLAIN, THREADS])
def test_a_claim_by_age_that_finds_nothing_is_followed_by_one_by_priority(claim: Claim) -> None:
    assert list(orders(claim, by_age=True)) == [replace(claim, overdue=STARVED_AFTER), claim]


def test_users_at_their_ceiling_get_what_all_others_leave() -> None:
    fair = replace(PLAIN, without_users=(7,))
    assert list(orders(PLAIN, by_age=False, ceiling=(7,))) == [fair, PLAIN]
    by_age = [replace(each, overdue=STARVED_AFTER) for each in (fair, PLAIN)]
    assert list(orders(PLAIN, by_age=True, ceiling=(7,))) == [by_age[0], fair, by_age[1], PLAIN]


def test_each_order_keeps_who_claims_and_how_many() -> None:
    for each in orders(PLAIN, by_age=True, ceiling=(7,)):
        assert (each.worker, each.limit, each.kinds) == (PLAIN.worker, PLAIN.limit, PLAIN.kinds)


def test_claims_that_ask_for_the_same_jobs_are_equal_whoever_asks_for_how_many() -> None:
    assert replace(PLAIN, worker="there:2", limit=9, short=("demo.countdown",)) == PLAIN
    assert hash(PLAIN) == hash(replace(PLAIN, limit=9))
    assert replace(PLAIN, overdue=STARVED_AFTER) != PLAIN
