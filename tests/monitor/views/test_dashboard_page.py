"""The dashboard."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from jobs.models import Cluster
from jobs.models.states import Status
from jobs.registry import REMOTE_POOL
from mail.models import Provider
from monitor.dashboard import leases, parts
from tests.support.factories import make_job, make_user
from tests.support.operators import make_operator

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_parts() -> None:
    parts.forget()


def make_cluster(**fields: Any) -> Cluster:
    process = {"name": "here:1", "role": "worker", "pid": 1, "memory": 1 << 20, "busy": 1}
    return Cluster.objects.create(**{"name": "here", "host": "here", "processes": [process]} | fields)


def test_the_dashboard_shows_which_worker_runs_what(operator: Client) -> None:
    make_cluster(seen_at=timezone.now() + timedelta(minutes=1))  # so that it does not count as lost on a slow machine
    job = make_job(Status.RUNNING)
    make_job()
    text = operator.get("/admin/").content.decode()
    assert f"/admin/jobs/job/{job.pk}/change/" in text
    assert "worker 1" in text
    assert operator.get("/admin/?live=now").context["counts"]["queued"].number == 1


def test_the_dashboard_shows_which_remote_worker_holds_what(operator: Client) -> None:
    now, ada = timezone.now(), make_user()
    held = [
        make_job(
            Status.RUNNING,
            user=ada,
            pool=REMOTE_POOL,
            worker=f"phone-{number}",
            started_at=now - timedelta(seconds=100 + number),
            lease_expires_at=now + timedelta(seconds=90),
        )
        for number in range(leases.SHOWN + 1)
    ]
    text = operator.get("/admin/").content.decode()
    part = text[text.index("Remote workers") : text.index("Services")]
    assert "phone-20" in part
    assert f"/admin/jobs/job/{held[-1].pk}/change/" in part
    assert "phone-0<" not in part
    assert "and more" in part


def test_a_killed_cluster_and_an_open_breaker_are_problems(operator: Client) -> None:
    make_cluster(seen_at=timezone.now() - timedelta(seconds=7))
    Provider.objects.create(name="mailgun", opened_at=timezone.now(), reason="503")
    said = " ".join(problem.what for problem in operator.get("/admin/").context["problems"])
    assert "The cluster here has not reported" in said
    assert "mailgun is open: 503" in said


def test_a_lost_cluster_has_no_workers(operator: Client) -> None:
    make_cluster(seen_at=timezone.now() - timedelta(seconds=7))
    assert "worker 1" not in operator.get("/admin/").content.decode()


@pytest.mark.parametrize("span", ["hour", "day", "nonsense"])
def test_the_charts_come_as_a_fragment(operator: Client, span: str) -> None:
    text = operator.get(f"/admin/?live=charts&span={span}").content.decode()
    assert "<svg" in text
    assert "<html" not in text
    assert "style=" not in text


def test_the_dashboard_takes_few_queries_and_only_two_while_it_is_fresh(
    operator: Client, django_assert_max_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    for _ in range(20):
        make_job(Status.RUNNING)
    with django_assert_max_num_queries(15):
        operator.get("/admin/")
    with django_assert_max_num_queries(2):
        operator.get("/admin/?live=now")


def test_operators_who_may_not_see_jobs_get_an_empty_index() -> None:
    text = make_operator("mail.view_message").get("/admin/").content.decode()
    assert "needs the permission" in text
    assert "queued" not in text
