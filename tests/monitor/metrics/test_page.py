"""GET /metrics: who may read it, and what it says."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from jobs.models import Cluster, Job, Pause
from jobs.models.states import Status
from jobs.worker.rescue import rescue
from mail.webhooks.counts import Outcome, webhook_counts
from monitor.metrics import queue
from monitor.models import ErrorGroup
from monitor.rollups import depth
from monitor.rollups.finished_jobs import count_finished_jobs
from tests.support.factories import make_job

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    queue.forget()
    monkeypatch.setattr(depth, "_not_before", 0.0)


def samples() -> dict[tuple[str, str], float]:
    """Values by name and labels, the labels as a=b,c=d."""
    answer = Client().get("/metrics")
    assert answer.status_code == 200, answer.content
    return {
        (sample.name, ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_finished_jobs_are_counters_and_histograms() -> None:
    now = timezone.now()
    started = now - timedelta(seconds=32)
    times = {
        "run_at": started - timedelta(seconds=0.2),
        "started_at": started,
        "finished_at": now - timedelta(seconds=30),
    }
    make_job(Status.SUCCEEDED, **times)
    make_job(Status.FAILED, **times)
    count_finished_jobs()
    found = samples()
    assert found["legwork_jobs_finished_total", "kind=demo.countdown,status=failed"] == 1
    assert found["legwork_job_attempts_total", "kind=demo.countdown"] == 2
    assert found["legwork_job_run_seconds_bucket", "kind=demo.countdown,le=1.0"] == 0
    assert found["legwork_job_run_seconds_bucket", "kind=demo.countdown,le=2.5"] == 2
    assert found["legwork_job_run_seconds_count", "kind=demo.countdown"] == 2
    assert found["legwork_job_wait_seconds_sum", "kind=demo.countdown"] == pytest.approx(0.4)
    assert found["legwork_job_failures_total", "kind=demo.countdown,type=RuntimeError"] == 1


def test_no_counter_of_failures_falls_when_old_groups_of_errors_are_deleted() -> None:
    then = timezone.now() - timedelta(seconds=30)
    for kind in ("demo.countdown", "report.activity"):
        make_job(Status.FAILED, kind=kind, started_at=then, finished_at=then)
    count_finished_jobs()
    ErrorGroup.objects.filter(kind="demo.countdown").delete()
    found = samples()
    for kind in ("demo.countdown", "report.activity"):
        assert found["legwork_job_failures_total", f"kind={kind},type=RuntimeError"] == 1


def test_attempts_before_a_restart_are_not_counted_again() -> None:
    then = timezone.now() - timedelta(seconds=30)
    make_job(Status.SUCCEEDED, attempt=4, max_attempts=6, budget=3, started_at=then, finished_at=then)
    make_job(Status.SUCCEEDED, attempt=2, max_attempts=None, budget=None, started_at=then, finished_at=then)
    count_finished_jobs()
    assert samples()["legwork_job_attempts_total", "kind=demo.countdown"] == 1 + 2


def test_queues_clusters_and_pauses_are_gauges() -> None:
    make_job(run_at=timezone.now() - timedelta(seconds=50))
    depth.sample_depth()
    process = {"name": "a:1", "role": "worker", "pid": 1, "memory": 2048, "busy": 1}
    Cluster.objects.create(name="a", host="a", processes=[process])
    Cluster.objects.create(name="b", host="b", seen_at=timezone.now() - timedelta(minutes=1))
    Pause.objects.create(scope="queue", name="mail", reason="x", by="ada")
    found = samples()
    assert found["legwork_jobs_unfinished", "kind=demo.countdown,queue=default,status=queued"] == 1
    assert found["legwork_job_oldest_due_seconds", "kind=demo.countdown,queue=default"] >= 50
    assert (found["legwork_clusters_up", ""], found["legwork_clusters_lost", ""]) == (1, 1)
    assert found["legwork_workers_busy", "role=worker"] == 1
    assert found["legwork_paused", "name=mail,scope=queue"] == 1


def test_rescues_and_webhooks_are_counters() -> None:
    make_job(Status.RUNNING, lease_expires_at=timezone.now() - timedelta(minutes=1))
    rescue(Job.objects.expired())
    webhook_counts.write()
    webhook_counts.note("mailgun", Outcome.ACCEPTED)
    webhook_counts.write()
    found = samples()
    assert found["legwork_leases_rescued_total", "kind=demo.countdown,reason=WorkerLost"] == 1
    assert found["legwork_webhooks_total", "outcome=accepted,service=mailgun"] >= 1


def test_http_requests_are_counted_by_route() -> None:
    client, name = Client(), "legwork_http_requests_total"
    labels = "method=GET,route=api/v1/jobs/<uuid:job_id>/,status=401"
    before = samples().get((name, labels), 0)
    client.get(f"/api/v1/jobs/{make_job().pk}/")
    client.get("/made/up/by/a/caller")
    found = samples()
    assert found[name, labels] == before + 1
    assert found[name, "method=GET,route=unknown,status=404"] >= 1


@pytest.mark.parametrize(
    ("token", "allowed", "header", "status"),
    [
        ("", [], "", 403),
        ("secret", [], "", 403),
        ("secret", [], "Bearer wrong", 403),
        ("secret", [], "Bearer secret", 200),
        ("", [], "Bearer ", 403),
        ("", ["10.0.0.0/8"], "", 403),
        ("", ["127.0.0.0/8"], "", 200),
        ("secret", ["127.0.0.1"], "", 200),
    ],
)
def test_metrics_need_the_token_or_an_allowed_address(
    settings: Any, token: str, allowed: list[str], header: str, status: int
) -> None:
    settings.METRICS_TOKEN, settings.METRICS_ALLOWED = token, allowed
    headers = {"Authorization": header} if header else {}
    answer = Client().get("/metrics", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer["Content-Type"] == "application/problem+json"


def test_metrics_can_only_be_read() -> None:
    assert Client().post("/metrics").status_code == 405
