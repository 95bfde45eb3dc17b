"""The page of a job: what it shows, and what can be done to the job there."""

import re
from html import unescape
from io import BytesIO

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from jobs.models import Job, Output
from jobs.models.states import TERMINAL, Status
from tests.support.factories import make_error, make_job, make_user
from tests.support.operators import make_operator

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db


def page_of(job: Job) -> str:
    return f"/admin/jobs/job/{job.pk}/change/"


def do(browser: Client, action: str, job: Job, **more: object) -> str:
    """Do an action; returns the messages that the operator sees."""
    answer = browser.post(f"/admin/jobs/job/{job.pk}/act/", {"action": action, **more}, follow=True)
    assert answer.status_code == 200
    return " ".join(str(message) for message in answer.context["messages"])


def status_of(job: Job) -> str:
    job.refresh_from_db()
    return job.status


@pytest.mark.parametrize("status", sorted(Status))
def test_a_job_in_any_state_has_a_page_and_a_live_part(operator: Client, status: Status) -> None:
    job = make_job(status)
    assert operator.get(page_of(job)).status_code == 200
    assert "<html" not in operator.get(f"{page_of(job)}?live=job").content.decode()


def test_the_errors_of_a_job_are_shown_with_their_tracebacks(operator: Client) -> None:
    errors = [make_error("first"), make_error("second", attempt=2) | {"traceback": "File deep.py, line 7"}]
    text = operator.get(page_of(make_job(Status.FAILED, attempt=2, errors=errors))).content.decode()
    for part in ("first", "second", "File deep.py, line 7", "attempt 1: RuntimeError"):
        assert part in text, part


def test_nothing_that_a_job_says_becomes_part_of_the_page(operator: Client) -> None:
    evil = "<script>alert(1)</script>"
    job = make_job(
        Status.FAILED,
        params={"a": evil},
        result={evil: evil},
        progress={"percent": 1, "message": evil},
        unique_key=evil,
        errors=[make_error(evil) | {"traceback": evil, "type": evil}],
    )
    text = operator.get(page_of(job)).content.decode()
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert") >= 7
    assert "<script>alert" not in operator.get("/admin/jobs/job/").content.decode()


def test_params_and_results_are_hidden_from_a_role_that_may_not_see_them() -> None:
    job = make_job(Status.SUCCEEDED, params={"card": "4711"}, result={"card": "4712"})
    text = make_operator("jobs.view_job").get(page_of(job)).content.decode()
    assert "471" not in text.replace(str(job.pk), "")
    seen = make_operator("jobs.view_job", "jobs.view_job_data", name="other").get(page_of(job)).content.decode()
    assert "4711" in seen
    assert "4712" in seen


def test_the_file_of_a_job_is_downloaded_only_by_operators_who_may_see_its_data(operator: Client) -> None:
    job = make_job(Status.SUCCEEDED, attempt=1, worker="here:1")
    output = Output(job=job, attempt=1, worker="here:1", filename="days.csv", content_type="text/csv")
    output.store(BytesIO(b"day,jobs"))
    url = f"/admin/jobs/job/{job.pk}/output/"
    assert f'href="{url}"' in operator.get(page_of(job)).content.decode()
    answer = operator.get(url)
    assert b"".join(answer.streaming_content) == b"day,jobs"
    assert answer["Content-Disposition"] == 'attachment; filename="days.csv"'
    viewer = make_operator("jobs.view_job", name="viewer")
    text = viewer.get(page_of(job)).content.decode()
    assert "days.csv" in text
    assert url not in text
    assert viewer.get(url).status_code == 403
    assert operator.get(f"/admin/jobs/job/{make_job().pk}/output/").status_code == 404


def test_a_job_is_shown_and_not_edited(operator: Client) -> None:
    job = make_job()
    assert operator.post(page_of(job), {"status": "succeeded"}).status_code == 405
    assert status_of(job) == Status.QUEUED


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("cancel", Status.QUEUED, "cancelled"),
        ("cancel", Status.RUNNING, "running"),
        ("cancel", Status.SUCCEEDED, "succeeded"),
        ("retry", Status.FAILED, "queued"),
        ("retry", Status.CANCELLED, "queued"),
        ("retry", Status.RUNNING, "running"),
        ("run_now", Status.SCHEDULED, "queued"),
        ("run_now", Status.RETRYING, "queued"),
        ("run_now", Status.FAILED, "failed"),
    ],
)
def test_an_action_does_what_the_state_allows(operator: Client, action: str, before: Status, after: str) -> None:
    job = make_job(before)
    said = do(operator, action, job)
    assert status_of(job) == after
    changed = after != before or (job.cancel_requested and before == Status.RUNNING)
    assert ("done" in said) == changed
    assert LogEntry.objects.filter(object_id=str(job.pk)).count() == changed


def test_a_priority_is_cut_to_what_is_allowed(operator: Client) -> None:
    job = make_job()
    do(operator, "priority", job, value="99999")
    job.refresh_from_db()
    assert job.priority == 1000


@pytest.mark.parametrize("status", sorted(Status))
def test_only_a_finished_job_is_deleted(operator: Client, status: Status) -> None:
    job = make_job(status)
    do(operator, "delete", job, confirmed="1")
    assert Job.objects.filter(pk=job.pk).exists() == (status not in TERMINAL)


def test_deleting_a_job_asks_first(operator: Client) -> None:
    job = make_job(Status.FAILED)
    answer = operator.post(f"/admin/jobs/job/{job.pk}/act/", {"action": "delete"})
    assert "Delete this job?" in answer.content.decode()
    assert Job.objects.filter(pk=job.pk).exists()


def test_a_deletion_goes_back_to_the_list_that_the_operator_came_from(operator: Client) -> None:
    job = make_job(Status.FAILED)
    listed = operator.get("/admin/jobs/job/?status=failed&kind=demo.countdown&x=//evil").content.decode()
    link = unescape(re.search(rf'href="([^"]*{job.pk}/change/[^"]*)"', listed)[1])
    kept = operator.get(link).context["came_from"]
    asked = operator.post(f"/admin/jobs/job/{job.pk}/act/", {"action": "delete", "_changelist_filters": kept})
    assert asked.context["back"] == link
    form = {"action": "delete", "confirmed": "1", "_changelist_filters": asked.context["came_from"]}
    answer = operator.post(f"/admin/jobs/job/{job.pk}/act/", form)
    assert answer["Location"] == "/admin/jobs/job/?status=failed&kind=demo.countdown"


def test_a_job_whose_unique_key_is_taken_is_left(operator: Client) -> None:
    ada = make_user()
    old = make_job(Status.FAILED, user=ada, unique_key="nightly")
    make_job(user=ada, unique_key="nightly")
    assert "this job is failed" in do(operator, "retry", old)
    assert status_of(old) == Status.FAILED


def test_looking_is_not_enough_to_cancel() -> None:
    viewer, job = make_operator("jobs.view_job"), make_job()
    assert viewer.post(f"/admin/jobs/job/{job.pk}/act/", {"action": "cancel"}).status_code == 403
    assert status_of(job) == Status.QUEUED


def test_an_unknown_job_or_action_is_not_found(operator: Client) -> None:
    job = make_job()
    assert operator.get(f"/admin/jobs/job/{job.pk}0/change/").status_code == 404
    assert operator.post(f"/admin/jobs/job/{job.pk}/act/", {"action": "explode"}).status_code == 404
    assert operator.get(f"/admin/jobs/job/{job.pk}/act/").status_code == 405
