"""`manage.py doctor`."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from jobs.models import Cluster, Pause
from jobs.models.states import Status
from mail.models import Provider
from monitor.checkup import database as database_checks
from monitor.dashboard import brokers
from monitor.rollups import depth
from tests.support.factories import make_job, make_kind
from tests.support.mail.messages import make_message
from tests.support.mail.sending import provider, sending_by, work_on
from tests.support.servers.simulator import Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _cluster() -> Cluster:
    processes = [
        {"name": f"here:{role}", "role": role, "pid": 1, "memory": 1, "busy": 0} for role in ("worker", "io-worker")
    ]
    return Cluster.objects.create(name="here", host="here", processes=processes)


@pytest.fixture(autouse=True)
def _no_dead_rows() -> None:
    """Reset the statistics: earlier tests have left hundreds of thousands of dead rows."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_reset()")


def doctor(*arguments: str) -> tuple[str, int]:
    """The command's output and its exit status."""
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as error:
        return out.getvalue(), int(error.code or 0)
    return out.getvalue(), 0


def test_a_healthy_system_has_nothing_wrong() -> None:
    said, status = doctor()
    assert status == 0, said
    assert "Nothing is wrong." in said
    assert "Nothing" not in doctor("--quiet")[0]


def test_a_note_does_not_change_the_exit_status() -> None:
    Pause.objects.create(scope="queue", name="mail", reason="moving", by="ada")
    said, status = doctor()
    assert status == 0
    assert "'mail' was paused by ada" in said
    assert "Resume it under Queues and kinds" in said


def test_without_a_cluster_no_job_runs() -> None:
    Cluster.objects.all().delete()
    said, status = doctor()
    assert status == 2
    assert "No cluster is running" in said
    assert "manage.py qcluster" in said


def test_a_queue_that_nobody_serves_and_a_missing_role_are_named() -> None:
    Cluster.objects.update(queue="default", processes=[])
    said, status = doctor()
    assert status == 2
    assert "No cluster serves the queue 'mail'" in said
    assert "process of the role io-worker" in said


def test_kinds_that_remote_workers_run_need_no_cluster_and_no_role(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, name="test.remote", queue="devices", remote=True)
    Cluster.objects.update(queue="default")
    said, _ = doctor()
    assert "devices" not in said


def test_a_cluster_that_was_killed_and_a_wrong_clock_are_named() -> None:
    Cluster.objects.create(name="gone", host="gone", seen_at=timezone.now() - timedelta(seconds=8))
    Cluster.objects.filter(name="here").update(clock_skew=-7.5)
    said, status = doctor()
    assert status == 2
    assert "The cluster gone has not reported for 8" in said
    assert "-7.5 s" in said


def test_stuck_leases_and_unknown_kinds_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    make_job(Status.RUNNING, lease_expires_at=timezone.now() - timedelta(minutes=1))
    make_job(kind="of.tomorrow", run_at=timezone.now() - timedelta(minutes=20))
    make_job(run_at=timezone.now() - timedelta(minutes=20))
    monkeypatch.setattr(depth, "_not_before", 0.0)
    depth.sample_depth()
    said, status = doctor()
    assert status == 2
    for part in (
        "1 running jobs have had an expired lease",
        "'of.tomorrow'",
        "kind 'demo.countdown' has been due for 20 m",
    ):
        assert part in said, part


def test_a_remote_job_that_waits_wants_no_more_workers_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    make_job(kind="demo.remote", run_at=timezone.now() - timedelta(minutes=20))
    monkeypatch.setattr(depth, "_not_before", 0.0)
    depth.sample_depth()
    said, status = doctor()
    assert status == 1
    assert "none of them leases it" in said


def test_unsent_mail_and_an_open_breaker_are_warnings_or_worse() -> None:
    make_message(created_at=timezone.now() - timedelta(hours=1))
    Provider.objects.create(name="mailgun", opened_at=timezone.now(), reason="503")
    said, status = doctor()
    assert status == 2  # there is no other provider
    assert "1 messages have been due" in said
    assert "mailgun is open: 503" in said


def test_a_key_that_the_provider_refuses_is_named_with_what_to_do(simulator: Simulator, settings: Any) -> None:
    with sending_by(settings, provider(simulator.api_url, api_key="revoked")):
        work_on(make_message())
        said, status = doctor()
    assert status == 2
    assert "mailgun is open: the provider answered 401" in said
    assert "correct that (MAILGUN_API_KEY" in said


def test_a_broker_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "_answers", ())
    monkeypatch.setattr(brokers, "_broker_problem", lambda: "ConnectionError: refused")
    said, status = doctor()
    monkeypatch.setattr(brokers, "_answers", ())
    assert status == 1
    assert "ConnectionError: refused" in said


def test_a_missing_index_is_found() -> None:
    assert database_checks.missing_indexes() == []
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX job_finished")
    assert database_checks.missing_indexes() == ["job_finished"]


def test_a_check_that_fails_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(facts: object) -> list[object]:
        raise ValueError("broken")

    monkeypatch.setattr("monitor.management.commands.doctor.CHECKS", (broken, database_checks.schema_problems))
    said, status = doctor()
    assert status == 2
    assert "ValueError: broken" in said
