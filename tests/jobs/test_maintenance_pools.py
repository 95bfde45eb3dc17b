"""Which pool a job waits for, and how jobs are moved to theirs that another release has stored."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from structlog.testing import capture_logs

from jobs.cluster import maintenance
from jobs.maintenance import move_misplaced_jobs, move_misplaced_new_jobs
from jobs.models import Job
from jobs.models.ids import new_id
from jobs.models.queryset import first_id_at
from jobs.models.states import UPCOMING, WAITING, Status
from jobs.submit import submit, submit_many
from tests.support.factories import make_job, make_kind, row

pytestmark = pytest.mark.django_db


def test_a_job_waits_for_the_pool_of_its_kind_if_that_runs_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, "test.io", threads=2)
    make_kind(monkeypatch, lambda run: None, "test.cpu")
    submit("test.io")
    submit("test.cpu")
    submit_many("test.io", [{}, {}])
    assert sorted(Job.objects.values_list("kind", "pool")) == [("test.cpu", ""), *[("test.io", "test.io")] * 3]


@pytest.mark.parametrize("status", sorted(WAITING))
def test_jobs_that_wait_for_a_pool_that_their_kind_no_longer_has_are_moved(
    monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    make_kind(monkeypatch, lambda run: None, "test.io", threads=2)
    make_kind(monkeypatch, lambda run: None, "test.cpu")
    was_io = make_job(status, kind="test.cpu", pool="test.cpu", params={})
    was_cpu = make_job(status, kind="test.io", pool="", params={})
    right = make_job(status, kind="test.cpu", params={})
    assert move_misplaced_jobs() == 2
    assert [row(job)["pool"] for job in (was_io, was_cpu, right)] == ["", "test.io", ""]
    assert move_misplaced_jobs() == 0


def test_new_jobs_are_moved_each_minute_and_all_jobs_each_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, "test.io", threads=2)
    new = make_job(kind="test.io", pool="", params={})
    old = make_job(id=first_id_at(timezone.now() - timedelta(minutes=10)), kind="test.io", pool="", params={})
    assert move_misplaced_new_jobs() == 1
    assert [row(job)["pool"] for job in (new, old)] == ["test.io", ""]
    assert move_misplaced_jobs() == 1
    assert row(old)["pool"] == "test.io"
    periods = {task.function: task.seconds for task in maintenance._tasks}
    assert (periods[move_misplaced_new_jobs], periods[move_misplaced_jobs]) == (60, 3600)


def test_jobs_that_run_or_have_ended_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, "test.cpu")
    for status in set(Status) - WAITING:
        make_job(status, kind="test.cpu", pool="old", params={})
    assert move_misplaced_jobs() == 0


@pytest.mark.parametrize("status", [Status.QUEUED, *sorted(UPCOMING)])
def test_a_kind_that_nobody_knows_is_named_in_the_log_and_its_jobs_wait(status: str) -> None:
    job = make_job(status, kind="gone.kind", params={})
    with capture_logs() as logs:
        assert move_misplaced_jobs() == 0
    assert [(line["event"], line["kind"]) for line in logs] == [("jobs_of_unknown_kind", "gone.kind")]
    assert row(job)["status"] == status


def test_a_release_that_does_not_know_pools_can_still_insert_jobs() -> None:
    """As during a rolling deployment; a dispatcher moves such jobs to their pools."""
    job = make_job()
    columns = ", ".join(field.column for field in Job._meta.concrete_fields if field.name not in {"id", "pool"})
    another = new_id()
    pk = another.hex if connection.vendor == "sqlite" else another
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO jobs_job (id, {columns}) SELECT %s, {columns} FROM jobs_job", [pk])  # noqa: S608
    assert Job.objects.get(pk=another).pool == ""
    assert Job.objects.exclude(pk=job.pk).count() == 1
