"""When a worker process is replaced by a fresh one."""

import pytest
from django.db import connection
from django_q.conf import Conf

from jobs.models.states import Status
from jobs.worker import prefetch
from jobs.worker.process import should_recycle
from jobs.worker.worker import Worker
from tests.support.factories import make_job, make_kind, row
from tests.support.standalone_worker import contained, make_worker


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    found: dict[str, int] = {}
    monkeypatch.setattr(Conf, "conf", found)
    return found


@pytest.mark.parametrize(("recycle", "done", "worn"), [(0, 10**6, False), (3, 2, False), (3, 3, True), (3, 4, True)])
def test_a_process_is_recycled_after_so_many_jobs_and_tasks(
    limits: dict[str, int], recycle: int, done: int, worn: bool
) -> None:
    limits["recycle"] = recycle
    assert should_recycle(done) is worn


@pytest.mark.parametrize(("max_rss", "worn"), [(0, False), (1, True), (2**40, False)])
def test_a_process_is_recycled_when_it_has_too_much_memory(limits: dict[str, int], max_rss: int, worn: bool) -> None:
    limits["max_rss"] = max_rss
    assert should_recycle(0) is worn


def test_a_process_is_not_recycled_by_default(limits: dict[str, int]) -> None:
    """django-q's default is 500 tasks, which are run in a second here."""
    assert not should_recycle(10**6)


@pytest.mark.django_db(transaction=True)
def test_a_worker_ends_by_itself_after_so_many_jobs(limits: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None)
    monkeypatch.setattr(prefetch, "MAX_PREFETCH", 1)  # it is checked after each claim
    jobs = [make_job(kind="test.kind", params={}) for _ in range(3)]
    limits["recycle"] = 2
    with contained(monkeypatch):
        worker: Worker = make_worker(monkeypatch)
        worker.run()
    connection.close()
    assert worker.run_count == 2
    assert sorted(row(job)["status"] for job in jobs) == [Status.QUEUED, Status.SUCCEEDED, Status.SUCCEEDED]
