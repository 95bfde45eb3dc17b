"""What is kept of a trace with a job, and that nothing is while tracing is off."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs import tracing
from jobs.maintenance import delete_orphaned_traces
from jobs.models import Job, Trace
from jobs.models.queryset import first_id_at
from jobs.submit import build, store_many, submit, submit_many
from tests.support.api_clients import client, make_token, make_user

pytestmark = pytest.mark.django_db

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 0}}


@pytest.fixture
def _on(settings: Any) -> None:
    settings.TRACING = True


def post_traced() -> Any:
    headers = {"traceparent": PARENT}
    return client(make_token(make_user("ada"))).post("/api/v1/jobs/", COUNTDOWN, format="json", headers=headers)


def kept() -> set[tuple[Any, str]]:
    return set(Trace.objects.values_list("pk", "traceparent"))


@pytest.mark.usefixtures("_on")
def test_the_traceparent_of_a_request_is_kept_with_its_job() -> None:
    assert post_traced().status_code == 202
    assert kept() == {(Job.objects.get().pk, PARENT)}


@pytest.mark.usefixtures("_on")
def test_however_jobs_are_submitted_they_belong_to_the_trace() -> None:
    with tracing.following(PARENT):
        ids = {submit("demo.countdown", {"seconds": 0}).pk}
        ids |= set(submit_many("demo.countdown", [{"seconds": 0}, {"seconds": 1}]))
        built = [build("demo.countdown", {"seconds": 0}) for _ in range(2)]
        store_many(built)
    submit("demo.countdown", {"seconds": 0})
    assert kept() == {(pk, PARENT) for pk in ids | {job.pk for job in built}}
    assert len(kept()) == 5


@pytest.mark.usefixtures("_on")
@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "x",
        PARENT[:-1],
        PARENT.upper(),
        "01" + PARENT[2:],
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        PARENT + "\n",
    ],
)
def test_a_malformed_traceparent_is_not_kept(malformed: str) -> None:
    with tracing.following(malformed):
        submit("demo.countdown", {"seconds": 0})
    assert kept() == set()


def test_while_tracing_is_off_nothing_is_kept() -> None:
    assert post_traced().status_code == 202
    assert kept() == set()


@pytest.mark.usefixtures("_on")
def test_traces_go_with_their_jobs() -> None:
    with tracing.following(PARENT):
        here = submit("demo.countdown", {"seconds": 0})
    long_ago = first_id_at(timezone.now() - timedelta(days=1))
    not_stored_yet = first_id_at(timezone.now())
    for pk in (long_ago, not_stored_yet):
        Trace.objects.create(job_id=pk, traceparent=PARENT)
    assert delete_orphaned_traces() == 1
    assert {pk for pk, _ in kept()} == {here.pk, not_stored_yet}
