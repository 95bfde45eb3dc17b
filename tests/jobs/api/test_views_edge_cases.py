"""Rows of the Jobs table of the HTTP contract: times in the past and far future, and jobs that end meanwhile."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.models.states import Status
from tests.support.api_clients import assert_problem
from tests.support.factories import make_job

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

JOBS = "/api/v1/jobs/"
COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 0}}
RFC_3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.mark.parametrize("past", ["0001-01-01T00:00:00Z", "0999-12-31T23:59:59Z", "2001-01-01T00:00:00+05:30"])
def test_a_job_for_the_past_is_due_when_it_is_created_and_says_so(api: APIClient, past: str) -> None:
    job = api.post(JOBS, COUNTDOWN | {"run_at": past}).json()
    assert (job["status"], job["run_at"]) == ("queued", job["created_at"])
    assert api.get(job["url"]).json()["run_at"] == job["run_at"]


@pytest.mark.parametrize("year", [2200, 9999])
def test_a_job_for_any_later_year_is_answered_as_it_was_asked_for(api: APIClient, year: int) -> None:
    job = api.post(JOBS, COUNTDOWN | {"run_at": f"{year}-12-31T23:59:59Z"}).json()
    assert (job["status"], job["run_at"]) == ("scheduled", f"{year}-12-31T23:59:59.000000Z")
    assert RFC_3339_UTC.fullmatch(api.get(job["url"]).json()["run_at"])


def test_retries_are_accepted_when_the_holder_of_the_unique_key_ends_at_that_moment(api: APIClient, ada: User) -> None:
    old = make_job(Status.FAILED, user=ada, unique_key="nightly")
    holder = make_job(user=ada, unique_key="nightly")

    def end_first(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith("SELECT") and '"unique_key" =' in sql:
            Job.objects.filter(pk=holder.pk).update(status=Status.CANCELLED, finished_at=timezone.now())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(end_first):
        answer = api.post(f"{JOBS}{old.pk}/retries/")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


@pytest.mark.parametrize("action", ["cancellation", "retries"])
def test_a_job_that_is_deleted_while_it_is_changed_is_not_found(
    api: APIClient, ada: User, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    def delete_first(job: Job) -> bool:
        Job.objects.filter(pk=job.pk).delete()
        return False

    monkeypatch.setattr(Job, "_try_cancel", delete_first)
    monkeypatch.setattr(Job, "_try_restart", delete_first)
    assert_problem(api.post(f"{JOBS}{make_job(Status.FAILED, user=ada).pk}/{action}/"), 404)
