"""Failures in groups."""

import pytest
from django.test import Client

from jobs.models import Job
from jobs.models.states import Status
from monitor.rollups import failures
from tests.support.factories import make_error, make_job
from tests.support.inline_worker import run_due
from tests.support.operators import make_operator

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db


def test_a_group_is_shown_once_and_retried_as_a_whole(operator: Client) -> None:
    same = [make_job(Status.FAILED, errors=[make_error(f"order {number} is lost")]) for number in range(3)]
    other = make_job(Status.FAILED, kind="http.request")
    failures.group(Job.objects.filter(status=Status.FAILED))
    groups = {group.kind: group for group, _, _ in operator.get("/admin/errors/").context["groups"]}
    assert {kind: group.count for kind, group in groups.items()} == {"demo.countdown": 3, "http.request": 1}
    form = {"group": groups["demo.countdown"].pk, "everything": "1", "action": "retry", "confirmed": "1"}
    operator.post("/admin/jobs/job/bulk/", form)
    run_due()
    assert Job.objects.filter(pk__in=[job.pk for job in same], status="failed").count() == 0
    other.refresh_from_db()
    assert other.status == "failed"


def test_groups_are_searched_and_those_of_this_release_are_told_apart(operator: Client, settings: object) -> None:
    settings.RELEASE = "1"
    make_job(Status.FAILED)
    failures.group(Job.objects.all())
    settings.RELEASE = "2"
    make_job(Status.FAILED, kind="http.request")
    failures.group(Job.objects.filter(kind="http.request"))
    for query, found in (("q=http", ["http.request"]), ("new=1", ["http.request"]), ("q=nothing", [])):
        groups = operator.get(f"/admin/errors/?{query}").context["groups"]
        assert [group.kind for group, _, _ in groups] == found, query


def test_without_the_permission_nothing_is_shown() -> None:
    assert make_operator("mail.view_message").get("/admin/errors/").status_code == 403
