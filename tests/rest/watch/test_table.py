"""How many rows are read together: by their sizes."""

from typing import Any

import pytest

from jobs.api.watching import JOBS
from jobs.models.states import Status
from rest.watch.table import FEW, REST
from tests.support.factories import make_job, make_user

pytestmark = pytest.mark.django_db


def test_a_page_of_large_rows_is_shorter_and_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest.pagination.MAX_PAGE_CHARACTERS", 100)
    monkeypatch.setattr("rest.watch.table.FEW", 1)
    owner = make_user()
    params = {"note": "x" * 60}
    jobs = [make_job(Status.QUEUED, user=owner, version=number, params=params) for number in (10, 20, 30)]
    states, complete = JOBS.page(owner.pk, 0, 500)
    assert ([state.id for state in states], complete) == ([jobs[0].pk], False)
    monkeypatch.setattr("rest.pagination.MAX_PAGE_CHARACTERS", 10)
    states, complete = JOBS.page(owner.pk, 20, 500)
    assert ([state.id for state in states], complete) == ([jobs[2].pk], True)


def test_the_sizes_of_few_rows_are_not_asked_for(django_assert_num_queries: Any) -> None:
    jobs = [make_job(Status.QUEUED).pk for _ in range(FEW + 1)]
    with django_assert_num_queries(1):
        assert JOBS.fit_together(jobs[1:])
        JOBS.states(jobs[1:])
    with django_assert_num_queries(2):
        assert JOBS.fit_together(jobs)


def test_large_rows_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest.pagination.MAX_PAGE_CHARACTERS", 200)
    monkeypatch.setattr("rest.watch.table.FEW", 1)
    jobs = [make_job(Status.QUEUED, params={"note": "x" * 60}).pk for _ in range(5)]
    assert list(JOBS.portions(jobs)) == [jobs[:2], jobs[2:4], jobs[4:]]
    state = JOBS.states(jobs[:1])[0]
    assert REST + 60 < state.characters < REST + 160
