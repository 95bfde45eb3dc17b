"""The Jobs table of the HTTP contract, row by row: what the API answers, and to whom."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.test import APIClient

from jobs.errors import PermanentError
from jobs.models import Job
from jobs.models.states import TERMINAL, Status
from jobs.worker.attempts.outcome import error_entry
from tests.support.api_clients import assert_problem, client, make_token
from tests.support.factories import make_error, make_job, make_user

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

JOBS = "/api/v1/jobs/"
KEYS = {
    *("id", "url", "kind", "params", "status", "progress", "attempt", "max_attempts", "priority", "timeout"),
    *("unique_key", "run_at", "created_at", "started_at", "finished_at", "result", "error", "errors"),
    "cancel_requested",
    "output",
}
TIMES = ("run_at", "created_at", "started_at", "finished_at")
RFC_3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 3}}

CountQueries = Callable[[int], AbstractContextManager[Any]]


def url(job: Job, sub_resource: str = "") -> str:
    return f"{JOBS}{job.pk}/{sub_resource}"


def ids(answer: HttpResponse) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [job["id"] for job in answer.json()["results"]]


def test_a_posted_job_is_accepted_in_the_form_of_the_contract(api: APIClient) -> None:
    answer = api.post(JOBS, COUNTDOWN)
    assert answer.status_code == 202
    job = answer.json()
    assert set(job) == KEYS
    assert job["url"] == answer["Location"] == f"http://testserver{JOBS}{job['id']}/"
    assert int(answer["Retry-After"]) > 0
    assert answer["Content-Type"] == "application/json"
    assert UUID(job["id"]).version == 7
    assert all(RFC_3339_UTC.fullmatch(job[name]) for name in ("run_at", "created_at"))
    assert {name: job[name] for name in KEYS - {"id", "url", "run_at", "created_at"}} == COUNTDOWN | {
        "status": "queued",
        "progress": {"percent": 0, "message": ""},
        "attempt": 0,
        "max_attempts": 3,
        "priority": 0,
        "timeout": 4200,
        "unique_key": None,
        "started_at": None,
        "finished_at": None,
        "result": None,
        "error": None,
        "errors": [],
        "cancel_requested": False,
        "output": None,
    }


def test_a_posted_job_is_stored_and_belongs_to_its_sender(api: APIClient, ada: User) -> None:
    job = Job.objects.get(pk=api.post(JOBS, COUNTDOWN).json()["id"])
    assert (job.user, job.kind, job.params) == (ada, "demo.countdown", {"seconds": 3})


def test_a_posted_job_has_the_values_of_its_post(api: APIClient) -> None:
    said = COUNTDOWN | {"priority": -7, "timeout": 30, "max_attempts": 9, "unique_key": "nightly"}
    job = api.post(JOBS, said).json()
    assert {name: job[name] for name in said} == said


@pytest.mark.parametrize("field", ["run_at", "priority", "timeout", "max_attempts", "unique_key"])
def test_null_means_the_default(api: APIClient, field: str) -> None:
    without, with_null = api.post(JOBS, COUNTDOWN).json(), api.post(JOBS, COUNTDOWN | {field: None}).json()
    own = ("id", "url", "run_at", "created_at")
    assert {key: without[key] for key in KEYS.difference(own)} == {key: with_null[key] for key in KEYS.difference(own)}


def test_null_params_are_no_params(api: APIClient) -> None:
    answer = api.post(JOBS, {"kind": "demo.countdown", "params": None})
    assert_problem(answer, 400)
    assert answer.json()["errors"][0]["field"] == "params.seconds"


def test_a_job_for_later_is_scheduled(api: APIClient) -> None:
    job = api.post(JOBS, COUNTDOWN | {"run_at": "2100-01-01T01:00:00+01:00"}).json()
    assert (job["status"], job["run_at"]) == ("scheduled", "2100-01-01T00:00:00.000000Z")


def test_a_unique_key_is_refused_while_an_unfinished_job_has_it(api: APIClient) -> None:
    first = api.post(JOBS, COUNTDOWN | {"unique_key": "nightly"})
    second = api.post(JOBS, COUNTDOWN | {"unique_key": "nightly"})
    assert_problem(second, 409)
    assert second["Location"] == first["Location"]
    assert Job.objects.count() == 1


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_unique_key_is_free_again_when_its_job_has_finished(api: APIClient, ada: User, status: Status) -> None:
    make_job(status, user=ada, unique_key="nightly")
    assert api.post(JOBS, COUNTDOWN | {"unique_key": "nightly"}).status_code == 202


def test_a_unique_key_is_unique_to_its_user(api: APIClient) -> None:
    make_job(user=make_user("grace"), unique_key="nightly")
    assert api.post(JOBS, COUNTDOWN | {"unique_key": "nightly"}).status_code == 202


def test_a_job_keeps_the_id_of_the_request_that_it_came_from(api: APIClient) -> None:
    answer = api.post(JOBS, COUNTDOWN, headers={"X-Request-ID": "from-the-till-17"})
    assert answer["X-Request-ID"] == "from-the-till-17"
    assert Job.objects.get().request_id == "from-the-till-17"


# --- one job -------------------------------------------------------------------------------------------------------


def test_an_unfinished_job_says_when_to_ask_again(api: APIClient, ada: User) -> None:
    answer = api.get(url(make_job(Status.RUNNING, user=ada)))
    assert answer.status_code == 200
    assert set(answer.json()) == KEYS
    assert int(answer["Retry-After"]) > 0
    assert re.fullmatch(r'(W/)?"[^"]+"', answer["ETag"])


def test_a_finished_job_has_no_retry_after(api: APIClient, ada: User) -> None:
    job = make_job(Status.SUCCEEDED, user=ada, result={"counted": 3})
    answer = api.get(url(job))
    assert "Retry-After" not in answer
    assert answer.json()["result"] == {"counted": 3}
    assert all(RFC_3339_UTC.fullmatch(answer.json()[name]) for name in TIMES)


def test_the_retry_after_of_a_job_far_ahead_is_a_minute(api: APIClient, ada: User) -> None:
    job = make_job(Status.SCHEDULED, user=ada, run_at=timezone.now() + timedelta(days=1))
    assert int(api.get(url(job))["Retry-After"]) == 60


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_known_state_is_answered_with_304_and_the_headers_of_the_200(api: APIClient, ada: User, form: str) -> None:
    job = make_job(Status.RUNNING, user=ada)
    whole = api.get(url(job))
    answer = api.get(url(job), headers={"If-None-Match": form.format(whole["ETag"])})
    assert (answer.status_code, answer.content) == (304, b"")
    for name in ("ETag", "Retry-After", "Cache-Control", "Vary"):
        assert answer[name] == whole[name]
    assert "X-Request-ID" in answer


def test_a_changed_job_is_answered_whole_with_another_etag(api: APIClient, ada: User) -> None:
    job = make_job(Status.RUNNING, user=ada)
    etag = api.get(url(job))["ETag"]
    Job.objects.filter(pk=job.pk).update(progress={"percent": 40, "message": "half-time"})
    answer = api.get(url(job), headers={"If-None-Match": etag})
    assert answer.json()["progress"] == {"percent": 40, "message": "half-time"}
    assert answer["ETag"] != etag


def test_a_failed_job_shows_its_errors_without_tracebacks(api: APIClient, ada: User) -> None:
    errors = [make_error("not yet"), make_error("never", attempt=2)]
    answer = api.get(url(make_job(Status.FAILED, user=ada, attempt=2, errors=errors)))
    shown = answer.json()
    assert shown["error"] | {"started_at": errors[1]["started_at"]} == shown["errors"][-1]
    hidden = "The job failed; its operators can see why."
    assert shown["error"] == {"type": "RuntimeError", "message": hidden, "attempt": 2, "at": errors[1]["at"]}
    assert [set(error) for error in shown["errors"]] == [{"type", "message", "attempt", "started_at", "at"}] * 2
    assert b"traceback" not in answer.content.lower() + api.get(JOBS).content.lower()


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.FAILED}))
def test_only_a_failed_job_has_an_error(api: APIClient, ada: User, status: Status) -> None:
    shown = api.get(url(make_job(status, user=ada, errors=[make_error()]))).json()
    assert shown["error"] is None
    assert len(shown["errors"]) == 1


def test_reading_a_job_takes_one_query_for_the_token_and_one_for_the_job(
    api: APIClient, ada: User, django_assert_num_queries: CountQueries
) -> None:
    job = make_job(user=ada)
    with django_assert_num_queries(2):
        api.get(url(job))


# --- the list ------------------------------------------------------------------------------------------------------


def test_the_list_is_newest_first_and_has_the_form_of_the_contract(api: APIClient, ada: User) -> None:
    jobs = [str(make_job(user=ada).pk) for _ in range(3)]
    answer = api.get(JOBS)
    assert ids(answer) == jobs[::-1]
    assert set(answer.json()) == {"next", "previous", "results"}
    assert (answer.json()["next"], answer.json()["previous"]) == (None, None)
    assert all(set(job) == KEYS for job in answer.json()["results"])


def test_a_page_has_fifty_jobs_unless_asked_otherwise_and_two_hundred_at_most(api: APIClient, ada: User) -> None:
    Job.objects.bulk_create(Job(user=ada, kind="demo.countdown", timeout=9) for _ in range(210))
    sizes = [len(ids(api.get(JOBS, query))) for query in ({}, {"page_size": 7}, {"page_size": 200})]
    assert sizes == [50, 7, 200]
    assert api.get(JOBS, {"page_size": 201}).status_code == 400


def test_following_next_and_then_previous_visits_each_job_once(api: APIClient, ada: User) -> None:
    jobs = [str(make_job(user=ada).pk) for _ in range(120)]
    forth = list(walk(api, f"{JOBS}?page_size=25", "next"))
    assert [len(page["results"]) for page in forth] == [25, 25, 25, 25, 20]
    assert [job["id"] for page in forth for job in page["results"]] == jobs[::-1]
    back = list(walk(api, forth[-1]["previous"], "previous"))
    assert [job["id"] for page in back[::-1] for job in page["results"]] == jobs[:19:-1]


def test_a_job_that_comes_in_meanwhile_does_not_shift_the_pages(api: APIClient, ada: User) -> None:
    jobs = [str(make_job(user=ada).pk) for _ in range(10)]
    first = api.get(JOBS, {"page_size": 5}).json()
    make_job(user=ada)
    assert ids(api.get(first["next"])) == jobs[4::-1]


def walk(api: APIClient, page: str | None, link: str) -> Iterator[dict[str, Any]]:
    while page:
        answer = api.get(page).json()
        yield answer
        page = answer[link]


def test_the_list_can_be_narrowed_by_several_states(api: APIClient, ada: User) -> None:
    jobs = {status: str(make_job(status, user=ada).pk) for status in Status}
    assert ids(api.get(JOBS, {"status": "running"})) == [jobs[Status.RUNNING]]
    assert set(ids(api.get(f"{JOBS}?status=failed&status=cancelled"))) == {
        jobs[Status.FAILED],
        jobs[Status.CANCELLED],
    }


def test_the_list_can_be_narrowed_by_kind(api: APIClient, ada: User) -> None:
    make_job(user=ada)
    call = make_job(user=ada, kind="http.request")
    assert ids(api.get(JOBS, {"kind": "http.request"})) == [str(call.pk)]
    assert ids(api.get(JOBS, {"kind": "no.such.kind"})) == []


def test_the_list_can_be_narrowed_by_time(api: APIClient, ada: User) -> None:
    noon = datetime(2024, 5, 17, 12, tzinfo=UTC)
    before, at_noon, after = (
        str(make_job(user=ada, created_at=noon + timedelta(minutes=minutes)).pk) for minutes in (-1, 0, 1)
    )
    stamp = "2024-05-17T12:00:00Z"
    assert ids(api.get(JOBS, {"created_after": stamp})) == [after, at_noon]
    assert ids(api.get(JOBS, {"created_before": stamp})) == [before]
    assert ids(api.get(JOBS, {"created_after": stamp, "created_before": "2024-05-17T14:01:00+02:00"})) == [at_noon]


def test_the_pages_of_a_narrowed_list_are_narrowed_too(api: APIClient, ada: User) -> None:
    jobs = [str(make_job(status, user=ada).pk) for status in (Status.QUEUED, Status.FAILED, Status.CANCELLED) * 3]
    pages = list(walk(api, f"{JOBS}?status=failed&status=cancelled&page_size=4", "next"))
    wanted = [job for number, job in enumerate(jobs) if number % 3]
    assert [job["id"] for page in pages for job in page["results"]] == wanted[::-1]


def test_reading_the_list_takes_a_query_for_the_token_one_for_sizes_and_one_for_the_page(
    api: APIClient, ada: User, django_assert_num_queries: CountQueries
) -> None:
    for _ in range(5):
        make_job(user=ada)
    with django_assert_num_queries(3):
        api.get(JOBS, {"page_size": 3, "status": "queued"})


# --- whose they are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "sub_resource"), [("get", ""), ("delete", ""), ("post", "cancellation/"), ("post", "retries/")]
)
def test_another_users_job_is_not_found_and_left_alone(api: APIClient, method: str, sub_resource: str) -> None:
    grace = make_user("grace")
    for job in (make_job(user=grace), make_job(Status.FAILED, user=grace)):
        before = Job.objects.filter(pk=job.pk).values().get()
        theirs, nobodys = getattr(api, method)(url(job, sub_resource)), getattr(api, method)(f"{JOBS}{uuid4()}/")
        assert_problem(theirs, 404)
        if not sub_resource:
            assert theirs.json() | {"instance": ""} == nobodys.json() | {"instance": ""}
        assert Job.objects.filter(pk=job.pk).values().get() == before


def test_the_list_has_ones_own_jobs_only(api: APIClient, ada: User) -> None:
    make_job(user=make_user("grace"))
    mine = make_job(user=ada)
    assert ids(api.get(JOBS)) == [str(mine.pk)]


def test_even_staff_see_only_their_own_jobs(ada: User) -> None:
    job = make_job(user=ada)
    root = client(make_token(User.objects.create_superuser("root")))
    assert ids(root.get(JOBS)) == []
    assert_problem(root.get(url(job)), 404)


# --- cancelling, restarting, deleting ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SCHEDULED, Status.RETRYING])
def test_a_waiting_job_is_cancelled_at_once_and_asking_again_answers_the_same(
    api: APIClient, ada: User, status: Status
) -> None:
    job = make_job(status, user=ada)
    first, again = api.post(url(job, "cancellation/")), api.post(url(job, "cancellation/"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert set(first.json()) == KEYS
    assert (first.json()["status"], first.json()["cancel_requested"]) == ("cancelled", True)
    assert RFC_3339_UTC.fullmatch(first.json()["finished_at"])


def test_a_running_job_is_told_to_stop_and_asking_again_answers_the_same(api: APIClient, ada: User) -> None:
    job = make_job(Status.RUNNING, user=ada)
    first, again = api.post(url(job, "cancellation/")), api.post(url(job, "cancellation/"))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert (first.json()["status"], first.json()["cancel_requested"]) == ("running", True)
    assert int(first["Retry-After"]) > 0
    assert first["Location"] == first.json()["url"]


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
def test_a_job_that_finished_otherwise_cannot_be_cancelled(api: APIClient, ada: User, status: Status) -> None:
    job = make_job(status, user=ada)
    assert_problem(api.post(url(job, "cancellation/")), 409)
    job.refresh_from_db()
    assert job.status == status


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_failed_or_cancelled_job_is_restarted_with_a_new_budget(api: APIClient, ada: User, status: Status) -> None:
    job = make_job(status, user=ada, attempt=3, errors=[make_error()], cancel_requested=True)
    answer = api.post(url(job, "retries/"))
    assert answer.status_code == 202
    shown = answer.json()
    assert set(shown) == KEYS
    assert (shown["status"], shown["attempt"], shown["max_attempts"]) == ("queued", 3, 6)
    assert (shown["finished_at"], shown["error"], shown["cancel_requested"]) == (None, None, False)
    assert len(shown["errors"]) == 1
    assert answer["Location"] == shown["url"]


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.FAILED, Status.CANCELLED}))
def test_no_other_job_is_restarted(api: APIClient, ada: User, status: Status) -> None:
    assert_problem(api.post(url(make_job(status, user=ada), "retries/")), 409)


def test_a_job_whose_unique_key_is_taken_is_not_restarted(api: APIClient, ada: User) -> None:
    old = make_job(Status.FAILED, user=ada, unique_key="nightly")
    new = make_job(user=ada, unique_key="nightly")
    answer = api.post(url(old, "retries/"))
    assert_problem(answer, 409)
    assert answer["Location"].endswith(url(new))


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_finished_job_is_deleted_and_then_unknown(api: APIClient, ada: User, status: Status) -> None:
    job = make_job(status, user=ada)
    answer = api.delete(url(job))
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(api.delete(url(job)), 404)
    assert_problem(api.get(url(job)), 404)


@pytest.mark.parametrize("status", sorted(set(Status) - TERMINAL))
def test_an_unfinished_job_is_not_deleted(api: APIClient, ada: User, status: Status) -> None:
    job = make_job(status, user=ada)
    assert_problem(api.delete(url(job)), 409)
    assert Job.objects.filter(pk=job.pk).exists()


def test_a_failed_job_shows_messages_of_the_projects_own_errors_only(api: APIClient, ada: User) -> None:
    for error, message in (
        (PermanentError("no such account"), "no such account"),
        (ValueError("password=secret"), "The job failed; its operators can see why."),
    ):
        job = make_job(Status.FAILED, user=ada, errors=[error_entry(error, 1)])
        assert api.get(f"{JOBS}{job.pk}/").json()["error"]["message"] == message
