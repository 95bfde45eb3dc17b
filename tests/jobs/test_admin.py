"""The operator's first look at jobs: what the admin shows, finds, does, and does not allow."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from jobs.models import Job
from jobs.models.states import TERMINAL, Status
from tests.support.factories import make_error, make_job, make_user

pytestmark = pytest.mark.django_db

LIST = "/admin/jobs/job/"

MaxQueries = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture
def operator() -> Client:
    browser = Client()
    browser.force_login(User.objects.create_superuser("operator"))
    return browser


def page_of(job: Job, what: str = "change") -> str:
    return reverse(f"admin:jobs_job_{what}", args=[job.pk])


def listed(answer: HttpResponse) -> set[Job]:
    assert answer.status_code == 200
    return set(answer.context["cl"].result_list)


def do(browser: Client, action: str, *jobs: Job) -> str:
    answer = browser.post(LIST, {"action": action, "_selected_action": [job.pk for job in jobs]}, follow=True)
    assert answer.status_code == 200
    return " ".join(str(message) for message in answer.context["messages"])


def status_of(job: Job) -> str:
    job.refresh_from_db()
    return job.status


# --- who may look --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["nobody", "somebody"])
def test_whoever_is_no_staff_is_sent_to_the_login(who: str) -> None:
    job = make_job()
    browser = Client()
    if who == "somebody":
        browser.force_login(make_user())
    for path in (LIST, page_of(job), page_of(job, "delete")):
        answer = browser.get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


def test_staff_without_permission_see_nothing() -> None:
    browser = Client()
    browser.force_login(User.objects.create_user("trainee", is_staff=True))
    assert browser.get(LIST).status_code == 403
    assert browser.get(page_of(make_job())).status_code == 403


# --- the list ------------------------------------------------------------------------------------------------------


def test_the_list_shows_the_jobs_of_all_users_and_of_nobody(operator: Client) -> None:
    jobs = {make_job(user=make_user("ada")), make_job(user=make_user("grace")), make_job()}
    answer = operator.get(LIST)
    assert listed(answer) == jobs
    assert "demo.countdown" in answer.content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [("status__exact=failed", "failed"), ("kind=http.request", "other"), ("queue=slow", "slow")],
)
def test_the_list_can_be_filtered(operator: Client, query: str, found: str) -> None:
    jobs = {"failed": make_job(Status.FAILED), "other": make_job(kind="http.request"), "slow": make_job(queue="slow")}
    assert listed(operator.get(f"{LIST}?{query}")) == {jobs[found]}


def test_the_list_can_be_searched_by_id_user_kind_key_and_request(operator: Client) -> None:
    job = make_job(user=make_user("ada"), kind="http.request", unique_key="nightly", request_id="till-17")
    make_job(user=make_user("grace"))
    for words in (str(job.pk), "ada", "http.req", "nightly", "till-17"):
        assert listed(operator.get(LIST, {"q": words})) == {job}, words
    assert listed(operator.get(LIST, {"q": "nothing of the kind"})) == set()


@pytest.mark.parametrize("query", ["q=%22", "status__exact=x", "created_at__gte=x", "o=99", "p=99", "nonsense=1"])
def test_a_query_that_makes_no_sense_breaks_nothing(operator: Client, query: str) -> None:
    make_job()
    assert operator.get(f"{LIST}?{query}", follow=True).status_code == 200


def test_a_longer_list_takes_no_more_queries(operator: Client, django_assert_max_num_queries: MaxQueries) -> None:
    for number in range(25):
        make_job(Status.FAILED, user=make_user(f"user-{number}"))
    with django_assert_max_num_queries(12):
        assert len(listed(operator.get(LIST))) == 25


# --- one job -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(Status))
def test_a_job_in_any_state_has_a_page(operator: Client, status: Status) -> None:
    assert operator.get(page_of(make_job(status))).status_code == 200


def test_the_errors_of_a_job_are_shown_with_their_tracebacks(operator: Client) -> None:
    errors = [make_error("first"), make_error("second", attempt=2) | {"traceback": "File deep.py, line 7"}]
    text = operator.get(page_of(make_job(Status.FAILED, attempt=2, errors=errors))).content.decode()
    assert "RuntimeError: first" in text
    assert "RuntimeError: second" in text
    assert "File deep.py, line 7" in text


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
    assert "<script>alert" not in operator.get(LIST).content.decode()


def test_a_job_is_shown_and_not_edited(operator: Client) -> None:
    job = make_job()
    answer = operator.post(page_of(job), {"status": "succeeded", "kind": "http.request"})
    assert answer.status_code in (302, 403)
    assert (status_of(job), job.kind) == (Status.QUEUED, "demo.countdown")


# --- what can be done ----------------------------------------------------------------------------------------------


def test_cancelling_stops_what_waits_and_tells_what_runs(operator: Client) -> None:
    queued, running, done = make_job(), make_job(Status.RUNNING), make_job(Status.SUCCEEDED)
    said = do(operator, "cancel", queued, running, done)
    assert [status_of(job) for job in (queued, running, done)] == ["cancelled", "running", "succeeded"]
    assert running.cancel_requested
    assert said.startswith("2 cancelled")
    assert str(done.pk) in said


def test_running_afresh_queues_what_failed_and_was_cancelled(operator: Client) -> None:
    failed, cancelled, running = make_job(Status.FAILED), make_job(Status.CANCELLED), make_job(Status.RUNNING)
    said = do(operator, "restart", failed, cancelled, running)
    assert [status_of(job) for job in (failed, cancelled, running)] == ["queued", "queued", "running"]
    assert said.startswith("2 queued again")
    assert str(running.pk) in said


def test_a_job_whose_unique_key_is_taken_is_left_and_named(operator: Client) -> None:
    ada = make_user()
    old = make_job(Status.FAILED, user=ada, unique_key="nightly")
    new = make_job(user=ada, unique_key="nightly")
    assert str(new.pk) in do(operator, "restart", old)
    assert status_of(old) == Status.FAILED


def test_looking_is_not_enough_to_cancel() -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(viewer.user_permissions.model.objects.filter(codename="view_job"))
    browser = Client()
    browser.force_login(viewer)
    job = make_job()
    assert browser.get(LIST).status_code == 200
    browser.post(LIST, {"action": "cancel", "_selected_action": [job.pk]})
    assert status_of(job) == Status.QUEUED


def test_jobs_are_not_added_here(operator: Client) -> None:
    assert operator.get(f"{LIST}add/").status_code == 403
    assert "Add job" not in operator.get(LIST).content.decode()


@pytest.mark.parametrize("status", sorted(Status))
def test_only_a_finished_job_is_deleted(operator: Client, status: Status) -> None:
    job = make_job(status)
    answer = operator.post(page_of(job, "delete"), {"post": "yes"})
    assert answer.status_code == (302 if status in TERMINAL else 403)
    assert Job.objects.filter(pk=job.pk).exists() == (status not in TERMINAL)


def test_many_jobs_are_not_deleted_at_once(operator: Client) -> None:
    job = make_job(Status.RUNNING)
    do(operator, "delete_selected", job)
    assert Job.objects.filter(pk=job.pk).exists()
