"""The list of jobs: what it shows, finds, and hides."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from jobs.models import Job
from jobs.models.queryset import first_id_at
from jobs.models.states import Status
from monitor import job_search
from monitor.rollups import failures
from tests.support.factories import make_error, make_job, make_user
from tests.support.operators import make_operator

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db

LIST = "/admin/jobs/job/"

MaxQueries = Callable[[int], AbstractContextManager[Any]]


def listed(answer: HttpResponse) -> set[Job]:
    assert answer.status_code == 200
    return {job for job, _ in answer.context["rows"]}


@pytest.mark.parametrize("staff", [False, True])
def test_only_staff_with_the_permission_see_jobs(staff: bool) -> None:
    job, browser = make_job(), Client()
    browser.force_login(make_user())
    if staff:
        browser = make_operator("mail.view_message")
    for path in (LIST, f"{LIST}{job.pk}/change/"):
        answer = browser.get(path)
        assert (answer.status_code, answer.get("Location", "")[:13]) == ((403, "") if staff else (302, "/admin/login/"))


def test_the_list_shows_the_jobs_of_all_users_and_of_nobody(operator: Client) -> None:
    jobs = {make_job(user=make_user("ada")), make_job(user=make_user("grace")), make_job()}
    answer = operator.get(LIST)
    assert listed(answer) == jobs
    assert "demo.countdown" in answer.content.decode()


def test_internal_kinds_are_hidden_until_they_are_asked_for(operator: Client) -> None:
    internal, ordinary = make_job(kind="mail.send"), make_job()
    assert listed(operator.get(LIST)) == {ordinary}
    assert listed(operator.get(f"{LIST}?internal=1")) == {internal, ordinary}
    assert listed(operator.get(f"{LIST}?kind=mail.send")) == {internal}
    assert listed(operator.get(f"{LIST}?q={internal.pk}")) == {internal}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=failed", "failed"),
        ("status=queued&queue=default", "other"),
        ("kind=http.request", "other"),
        ("queue=slow", "slow"),
        ("owner=ada", "slow"),
        ("error=RuntimeError", "failed"),
        ("created=1h&status=failed", "failed"),
    ],
)
def test_the_list_can_be_filtered(operator: Client, query: str, found: str) -> None:
    jobs = {
        "failed": make_job(Status.FAILED),
        "other": make_job(kind="http.request"),
        "slow": make_job(Status.RUNNING, queue="slow", user=make_user("ada")),
    }
    failures.group(Job.objects.filter(status=Status.FAILED))
    assert listed(operator.get(f"{LIST}?{query}")) == {jobs[found]}


def test_the_time_of_creation_is_an_age_or_a_range(operator: Client) -> None:
    old = make_job(id=first_id_at(timezone.now() - timedelta(days=3)), created_at=timezone.now() - timedelta(days=3))
    new = make_job()
    day = (timezone.now() - timedelta(days=2)).date()
    assert listed(operator.get(f"{LIST}?created=24h")) == {new}
    assert listed(operator.get(f"{LIST}?created=7d")) == {old, new}
    assert listed(operator.get(f"{LIST}?created=2001-01-01..{day}")) == {old}


def test_jobs_are_found_by_id_params_error_kind_user_key_and_request(operator: Client) -> None:
    job = make_job(
        Status.FAILED,
        user=make_user("ada"),
        kind="http.request",
        params={"url": "https://example.org/", "json": {"order": 17, "code": "17"}},
        errors=[make_error("the till is away")],
        unique_key="nightly",
        request_id="till-17",
    )
    make_job(user=make_user("grace"), params={"seconds": 3})
    failures.group(Job.objects.filter(status=Status.FAILED))
    words = [str(job.pk), "url:https://example.org/", "json.order:17", "params.json.code:17", "TILL is away"]
    for query in (*words, "http.req", "ada", "nightly", "till-17"):
        assert listed(operator.get(LIST, {"q": query})) == {job}, query
    for query in ("nothing of the kind", "json.order:18", "url__isnull:1", "a.b.c:{", str(uuid4())):
        assert listed(operator.get(LIST, {"q": query})) == set(), query


@pytest.mark.parametrize(
    "query",
    [
        *[
            "q=%22",
            "status=x",
            "created=x",
            "created=9999-99-99..1",
            "below=x",
            "nonsense=1",
            "q=:",
            "q=.:1",
            "owner=%25",
        ],
        *["q=a:NaN", "q=a:1e400", "q=a:%22\\u0000%22", "q=a:%22\\ud800%22", "q=12345678901:1", "q=-12345678901:1"],
        *["owner=%25", "q=a:" + "[" * 190, "q=a:" + "9" * 190],
    ],
)
def test_a_query_that_makes_no_sense_breaks_nothing(operator: Client, query: str) -> None:
    make_job()
    assert operator.get(f"{LIST}?{query}").status_code == 200


def test_filters_stay_in_every_link_and_form(operator: Client) -> None:
    make_job(Status.FAILED, kind="http.request")
    text = operator.get(f"{LIST}?kind=http.request&status=failed&created=7d").content.decode()
    assert "?status=running&amp;kind=http.request&amp;created=7d" in text
    assert '<input type="hidden" name="created" value="7d">' in text


def test_older_jobs_are_a_page_away(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.views.job_list.PAGE", 2)
    jobs = [make_job() for _ in range(5)]
    first = operator.get(LIST)
    second = operator.get(f"{LIST}?{first.context['older']}")
    third = operator.get(f"{LIST}?{second.context['older']}")
    assert [listed(answer) for answer in (first, second, third)] == [set(jobs[3:]), set(jobs[1:3]), {jobs[0]}]
    assert third.context["older"] == ""


def test_a_search_without_an_index_stops_in_time_and_can_be_continued(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = make_job(kind="http.request")
    for _ in range(6):
        make_job()
    monkeypatch.setattr(job_search, "STEP", 2)
    monkeypatch.setattr("monitor.job_search.newest.__defaults__", (None, 0.0))
    query, searched = "kind=http.request", 0
    while query:
        answer = operator.get(f"{LIST}?{query}")
        query, searched = answer.context["older"], searched + 1
    assert listed(answer) == {rare}
    assert searched == 4


def test_a_longer_list_takes_no_more_queries(operator: Client, django_assert_max_num_queries: MaxQueries) -> None:
    for number in range(25):
        make_job(Status.FAILED, user=make_user(f"user-{number}"))
    with django_assert_max_num_queries(12):
        assert len(listed(operator.get(LIST))) == 25


def test_the_live_part_is_a_fragment(operator: Client) -> None:
    job = make_job(Status.RUNNING, progress={"percent": 40, "message": "half"})
    text = operator.get(f"{LIST}?live=rows").content.decode()
    assert "<html" not in text
    assert str(job.pk) in text
    assert 'value="40"' in text


def test_an_operator_who_may_only_view_sees_no_actions() -> None:
    make_job()
    text = make_operator("jobs.view_job").get(LIST).content.decode()
    assert "demo.countdown" in text
    assert 'name="ids"' not in text
    assert "Cancel" not in text
