"""Plain tasks in the database: each is taken by one worker, oldest first, however many ask at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ

from jobs.brokers.fair_share import FairShare
from jobs.brokers.orm import ORM
from jobs.models.states import Status
from tests.support.factories import disconnected, make_job, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> ORM:
    return ORM("legwork")


def test_every_worker_that_asks_gets_a_task_of_its_own(broker: ORM) -> None:
    """With django-q's own broker all workers lock the same row, and all but one get nothing."""
    for number in range(40):
        broker.enqueue(f"package {number}")

    def take() -> list[str]:
        with disconnected():
            return [package for _ in range(10) for _, package in ORM("legwork").dequeue() or []]

    with ThreadPoolExecutor(4) as pool:
        found = [package for worker in [pool.submit(take) for _ in range(4)] for package in worker.result()]
    assert sorted(found) == sorted(f"package {number}" for number in range(40))


def test_the_oldest_are_taken_first_and_as_many_as_bulk_says(broker: ORM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "BULK", 2)
    for number in range(3):
        broker.enqueue(f"package {number}")
    assert [[package for _, package in broker.dequeue() or []] for _ in range(3)] == [
        ["package 0", "package 1"],
        ["package 2"],
        [],
    ]


def test_tasks_of_other_queues_and_locked_tasks_are_not_taken(broker: ORM) -> None:
    ORM("mail").enqueue("of mail")
    OrmQ.objects.create(key="legwork", payload="taken", lock=timezone.now() + timedelta(seconds=60))
    assert broker.dequeue() is None


def test_a_task_that_was_taken_is_locked_for_as_long_as_retry_says(broker: ORM) -> None:
    broker.enqueue("a package")
    broker.dequeue()
    left = OrmQ.objects.get().lock - timezone.now()
    assert timedelta(seconds=Conf.RETRY - 60) < left <= timedelta(seconds=Conf.RETRY)


def test_a_task_that_is_released_is_due_again_at_once(broker: ORM) -> None:
    broker.enqueue("a package")
    [(receipt, _)] = broker.dequeue()
    broker.release(receipt)
    assert broker.dequeue() == [(receipt, "a package")]


def test_jobs_become_due_for_the_reserve_worker_while_no_other_worker_claims(
    broker: ORM, monkeypatch: pytest.MonkeyPatch
) -> None:
    eve, bob = make_user("eve"), make_user("bob")
    monkeypatch.setattr(FairShare, "at_ceiling", lambda self: (eve.pk,))
    job = make_job(Status.SCHEDULED, user=bob, run_at=timezone.now() - timedelta(seconds=1))
    assert broker.claim_for_others("here:1") == []
    broker.wake_for_due_jobs()
    assert broker.claim_for_others("here:1") == [job]
