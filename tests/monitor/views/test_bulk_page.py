"""Actions on many jobs: a confirmation that says how many, then a job that does it."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from jobs.models import Job
from jobs.models.states import Status
from tests.support.factories import make_job, make_user
from tests.support.inline_worker import run_due
from tests.support.operators import make_operator

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db

BULK = "/admin/jobs/job/bulk/"


def confirmed(browser: Client, **form: object) -> Job:
    """Confirm the action; returns its bulk job, which has run."""
    answer = browser.post(BULK, {**form, "confirmed": "1"})
    assert answer.status_code == 302
    run_due()
    return Job.objects.get(kind="monitor.bulk_action")


def test_the_confirmation_says_how_many_and_changes_nothing(operator: Client) -> None:
    jobs = [make_job(Status.FAILED) for _ in range(3)]
    text = operator.post(BULK, {"action": "retry", "everything": "1", "status": "failed"}).content.decode()
    assert "Retry: 3 jobs?" in text
    assert "status failed" in text
    assert {job.status for job in Job.objects.all()} == {"failed"}
    assert len(jobs) == Job.objects.count()


def test_the_confirmation_counts_all_that_the_filter_matches_beside_a_selection(operator: Client) -> None:
    """All of them are changed, too."""
    jobs = [make_job(Status.FAILED) for _ in range(3)]
    form = {"action": "retry", "everything": "1", "status": "failed", "ids": [str(jobs[0].pk)]}
    assert "Retry: 3 jobs?" in operator.post(BULK, form).content.decode()
    assert confirmed(operator, **form).result == {"jobs": 3, "changed": 3}


def test_all_that_a_filter_matches_is_changed_and_nothing_else(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.bulk.BATCH", 2)
    failed = [make_job(Status.FAILED, kind="report.activity") for _ in range(5)]
    other = make_job(Status.FAILED, kind="http.request")
    job = confirmed(operator, action="retry", everything="1", kind="report.activity", status="failed")
    assert job.result == {"jobs": 5, "changed": 5}
    assert Job.objects.filter(pk__in=[each.pk for each in failed], status="failed").count() == 0
    other.refresh_from_db()
    assert other.status == "failed"
    entry = LogEntry.objects.get(object_id=None)
    assert entry.change_message == "5 of 5 jobs retried"
    assert "kind report.activity" in entry.object_repr


def test_a_selection_is_changed_and_nothing_else(operator: Client) -> None:
    chosen, left = make_job(Status.SCHEDULED), make_job(Status.SCHEDULED)
    job = confirmed(operator, action="cancel", ids=[chosen.pk, "nonsense"])
    chosen.refresh_from_db()
    left.refresh_from_db()
    assert (chosen.status, left.status) == ("cancelled", "scheduled")
    assert job.result == {"jobs": 1, "changed": 1}


@pytest.mark.parametrize(
    ("action", "status", "done"),
    [
        ("retry", Status.FAILED, "retried"),
        ("cancel", Status.QUEUED, "cancelled"),
        ("run_now", Status.SCHEDULED, "queued to run now"),
        ("priority", Status.SCHEDULED, "given the priority 7"),
        ("delete", Status.SUCCEEDED, "deleted"),
    ],
)
def test_a_bulk_action_is_in_the_history_of_each_job_that_it_changed(
    operator: Client, action: str, status: Status, done: str
) -> None:
    changed = [make_job(status, run_at=timezone.now() + timedelta(hours=1)) for _ in range(2)]
    left = make_job(Status.RUNNING, cancel_requested=True)
    bulk = confirmed(operator, action=action, ids=[job.pk for job in (*changed, left)], value="7")
    entries = LogEntry.objects.exclude(object_id=None)
    assert {entry.object_id for entry in entries} == {str(job.pk) for job in changed}
    for entry in entries:
        assert entry.change_message.startswith(f"{done}, by the bulk action {bulk.pk}")
    if action != "delete":
        assert done in operator.get(f"/admin/jobs/job/{changed[0].pk}/history/").content.decode()


def test_jobs_that_are_submitted_later_are_left_alone(operator: Client) -> None:
    before = make_job(Status.SCHEDULED)
    operator.post(BULK, {"action": "cancel", "everything": "1", "status": "scheduled", "confirmed": "1"})
    later = make_job(Status.SCHEDULED)
    run_due()
    before.refresh_from_db()
    later.refresh_from_db()
    assert (before.status, later.status) == ("cancelled", "scheduled")


def test_unfinished_jobs_are_not_deleted_with_the_others(operator: Client) -> None:
    make_job(Status.SUCCEEDED)
    running = make_job(Status.RUNNING)
    job = confirmed(operator, action="delete", everything="1")
    assert job.result == {"jobs": 2, "changed": 1}
    assert Job.objects.exclude(pk=job.pk).get() == running


def test_a_job_with_a_taken_key_is_left_and_the_others_are_retried(operator: Client) -> None:
    ada = make_user()
    make_job(Status.FAILED, user=ada, unique_key="nightly")
    make_job(Status.SCHEDULED, user=ada, unique_key="nightly")
    make_job(Status.FAILED, user=ada, unique_key="weekly", kind="report.activity")
    job = confirmed(operator, action="retry", everything="1", status="failed")
    assert job.result == {"jobs": 2, "changed": 1}


@pytest.mark.parametrize("form", [{}, {"action": "retry"}, {"action": "explode", "everything": "1"}])
def test_without_jobs_or_an_action_nothing_happens(operator: Client, form: dict[str, str]) -> None:
    answer = operator.post(BULK, {**form, "kind": "http.request", "confirmed": "1"})
    assert answer["Location"].endswith("/jobs/job/?kind=http.request")
    assert not Job.objects.exists()


def test_a_nul_in_a_filter_breaks_nothing(operator: Client) -> None:
    assert operator.post(BULK, {"action": "cancel", "everything": "1", "q": "\0"}).status_code == 200


def test_looking_is_not_enough() -> None:
    assert make_operator("jobs.view_job").post(BULK, {"action": "cancel", "everything": "1"}).status_code == 403


def test_a_get_changes_nothing(operator: Client) -> None:
    assert operator.get(f"{BULK}?action=cancel&everything=1&confirmed=1").status_code == 405
