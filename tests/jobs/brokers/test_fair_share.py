"""Claims pass over users at their ceiling while others wait, and cost no more than others while nobody waits."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.brokers import claims
from jobs.brokers.fair_share import FairShare, ceiling, ceilings_of_pools
from jobs.brokers.orm import ORM
from jobs.models import Job
from jobs.models.states import Status
from tests.support.factories import WORKER, make_job, make_kind, make_user

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
CALL = "test.call"


@pytest.fixture(autouse=True)
def _two_workers(settings: Any) -> None:
    settings.WORKERS, settings.IO_WORKERS, settings.MAX_RUNNING_PER_USER = 2, 1, 0


@pytest.fixture
def eve() -> User:
    """She has one job running and many waiting, of the highest priority."""
    user = make_user("eve")
    make_job(Status.RUNNING, user=user)
    for _ in range(5):
        make_job(user=user, priority=100)
    return user


def claim(broker: ORM) -> str:
    """Claim one job; returns the name of its user."""
    [job] = broker.claim(WORKER, 1, ())
    return job.user.username if job.user else ""


def test_others_come_first_and_eve_gets_the_rest(eve: User) -> None:
    make_job(user=make_user("ada"), priority=-100)
    make_job()
    broker = ORM("legwork")
    assert [claim(broker) for _ in range(3)] == ["", "ada", "eve"]


def test_a_user_who_is_alone_gets_everything_at_one_extra_claim_a_second(eve: User) -> None:
    broker = ORM("legwork")
    assert claim(broker) == "eve"
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert claim(broker) == "eve"
    assert not any("NOT" in query["sql"] and "user_id" in query["sql"] for query in queries.captured_queries)


def test_a_newcomer_is_seen_after_a_second(eve: User) -> None:
    broker = ORM("legwork")
    assert claim(broker) == "eve"
    make_job(user=make_user("ada"), priority=-100)
    assert claim(broker) == "eve"
    broker.fair_share._alone_until = 0.0
    assert claim(broker) == "ada"


def test_an_idle_worker_does_not_refresh_who_is_at_the_ceiling(eve: User) -> None:
    share = FairShare(in_pools=False)
    assert share.passed_over(busy=False) == (eve.pk,)
    Job.objects.filter(status=Status.RUNNING).update(lease_expires_at=timezone.now() - HOUR)
    share._look_at = time.monotonic() - 1
    assert share.passed_over(busy=False) == (eve.pk,)
    assert share.passed_over() == ()  # an expired lease no longer counts


def test_a_claim_that_finds_nothing_refreshes_who_is_at_the_ceiling(eve: User, settings: Any) -> None:
    settings.MAX_RUNNING_PER_USER = 2
    broker = ORM("legwork")
    assert claim(broker) == "eve"
    assert claim(broker) == "eve"
    Job.objects.filter(status=Status.QUEUED).delete()
    broker.fair_share._look_at = time.monotonic() - 1
    assert broker.claim(WORKER, 1, ()) == []
    with CaptureQueriesContext(connection) as queries:
        assert broker.fair_share.at_ceiling() == (eve.pk,)
    assert not queries.captured_queries


def test_a_claim_by_age_respects_the_ceiling(eve: User) -> None:
    Job.objects.filter(user=eve, status=Status.QUEUED).update(run_at=timezone.now() - HOUR)
    make_job(user=make_user("ada"), priority=-100)
    broker = ORM("legwork")
    broker._claims = claims.OLDEST_FIRST_EVERY - 1
    assert claim(broker) == "ada"


def test_below_the_ceiling_the_best_comes_first(eve: User, settings: Any) -> None:
    settings.MAX_RUNNING_PER_USER = 2
    make_job(user=make_user("ada"))
    assert claim(ORM("legwork")) == "eve"


def test_looking_whether_others_wait_takes_a_small_share_of_the_time(eve: User) -> None:
    share = FairShare(in_pools=False)
    assert share.passed_over() == (eve.pk,)
    share.nobody_else_waits(took=10.0)
    share._alone_until -= 100
    assert share.passed_over() == ()
    assert share.at_ceiling() == (eve.pk,)


def test_pools_have_ceilings_of_their_own(eve: User, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, CALL, threads=4)
    assert ceilings_of_pools()[CALL] == 2
    ada = make_user("ada")
    for user, status in [(eve, Status.RUNNING)] * 2 + [(eve, Status.QUEUED), (ada, Status.QUEUED)]:
        make_job(status, user=user, kind=CALL, priority=1 if user == eve else 0)
    broker = ORM("legwork")
    broker.for_pools = True
    assert broker.fair_share.at_ceiling() == (eve.pk,)
    claimed = [job.user for job in broker.claim_for_pools(WORKER, {CALL: 1})]
    claimed += [job.user for job in broker.claim_for_pools(WORKER, {CALL: 1})]
    assert claimed == [ada, eve]


def test_the_reserve_claims_for_others_only(eve: User) -> None:
    broker = ORM("legwork")
    assert broker.claim_for_others(WORKER) == []
    mine = make_job(user=make_user("ada"), priority=-100)
    assert broker.claim_for_others(WORKER) == [mine]
    assert broker.claim_for_others(WORKER) == []


def test_without_anybody_at_the_ceiling_the_reserve_claims_nothing() -> None:
    make_job(user=make_user("ada"))
    assert ORM("legwork").claim_for_others(WORKER) == []


@pytest.mark.parametrize(("workers", "expected"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_the_ceiling_is_half_of_the_workers(workers: int, expected: int, settings: Any) -> None:
    settings.WORKERS = workers
    assert ceiling() == expected
    settings.MAX_RUNNING_PER_USER = 7
    assert ceiling() == 7
