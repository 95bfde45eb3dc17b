"""The figures that are the same whichever process answers: read from roll-ups and the database's statistics."""

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from jobs.cluster.process import WORKER_ROLES
from jobs.models import Counter, Job
from jobs.models.states import Status
from jobs.worker.rescue import RESCUED
from mail.webhooks.counts import WEBHOOKS
from monitor.dashboard import database
from monitor.dashboard.facts import Facts
from monitor.histogram import BOUNDS
from monitor.models import JobFigures, MailFigures, RollupPosition
from monitor.models.figures import ALL_KINDS, EVER
from monitor.rollups.failures import FAILURES
from routers import use_primary

FRESH_FOR = 5.0
"""Seconds for which an answer is reused: several Prometheus servers ask at the same time."""
STUCK_COUNTED = 10_000

_lock = threading.Lock()
_text, _expires_at = b"", 0.0


def exposition() -> bytes:
    """In Prometheus' text format."""
    global _text, _expires_at
    with _lock:
        if time.monotonic() >= _expires_at:
            with use_primary():
                metrics = list(collect())
            _text, _expires_at = generate_latest(_registry_of(metrics)), time.monotonic() + FRESH_FOR
        return _text


def forget() -> None:
    """For tests: the next exposition() reads everything again."""
    global _expires_at
    _expires_at = 0.0


def collect() -> Iterator[Metric]:
    facts = Facts()
    yield from _finished()
    yield from _unfinished(facts)
    yield from _clusters(facts)
    yield from _mail(facts)
    yield from _databases(facts)


class _Collected:
    """What generate_latest() wants of a collector."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _registry_of(metrics: list[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Collected(metrics))
    return registry


def _finished() -> Iterator[Metric]:
    finished = CounterMetricFamily("legwork_jobs_finished", "Jobs that finished.", labels=["kind", "status"])
    attempts = CounterMetricFamily("legwork_job_attempts", "Attempts of finished jobs.", labels=["kind"])
    wait = HistogramMetricFamily("legwork_job_wait_seconds", "From due to started.", labels=["kind"])
    run = HistogramMetricFamily("legwork_job_run_seconds", "From started to finished.", labels=["kind"])
    rows = list(JobFigures.objects.filter(minute=EVER).exclude(kind=ALL_KINDS).order_by("kind", "status"))
    for row in rows:
        finished.add_metric([row.kind, row.status], row.count)
    for kind in sorted({row.kind for row in rows}):
        same = [row for row in rows if row.kind == kind]
        attempts.add_metric([kind], sum(row.attempts for row in same))
        for family, name in ((wait, "wait"), (run, "run")):
            columns = zip(*(getattr(row, f"{name}_buckets") for row in same), strict=True)
            reached = accumulate(map(sum, columns))
            buckets = list(zip([*map(str, BOUNDS), "+Inf"], reached, strict=True))
            family.add_metric([kind], buckets, sum(getattr(row, f"{name}_seconds") for row in same))
    errors = CounterMetricFamily("legwork_job_failures", "Failed jobs by exception.", labels=["kind", "type"])
    for labels, count in Counter.objects.totals(FAILURES).items():
        errors.add_metric(labels, count)
    rescued = CounterMetricFamily("legwork_leases_rescued", "Attempts ended by a rescue.", labels=["kind", "reason"])
    for labels, count in Counter.objects.totals(RESCUED).items():
        rescued.add_metric(labels, count)
    yield from (finished, attempts, wait, run, errors, rescued)


def _unfinished(facts: Facts) -> Iterator[Metric]:
    depth = GaugeMetricFamily("legwork_jobs_unfinished", "Unfinished jobs.", labels=["queue", "kind", "status"])
    oldest = GaugeMetricFamily("legwork_job_oldest_due_seconds", "Since the oldest was due.", labels=["queue", "kind"])
    now = timezone.now()
    for row in facts.depth:
        depth.add_metric([row["queue"], row["kind"], row["status"]], row["count"])
        if row["status"] == Status.QUEUED and row["oldest"]:
            oldest.add_metric([row["queue"], row["kind"]], max((now - row["oldest"]).total_seconds(), 0))
    stuck = Job.objects.filter(status=Status.RUNNING, lease_expires_at__lt=Now()).order_by().values("pk")
    paused = GaugeMetricFamily("legwork_paused", "1 for each paused queue and kind.", labels=["scope", "name"])
    for pause in facts.pauses:
        paused.add_metric([pause.scope, pause.name], 1)
    behind = GaugeMetricFamily("legwork_rollup_behind_seconds", "Age of the newest figures.", labels=["name"])
    for position in RollupPosition.objects.order_by("name"):
        behind.add_metric([position.name], max((now - position.until).total_seconds(), 0))
    yield from (depth, oldest, paused, behind)
    yield _gauge("legwork_expired_leases", "Running jobs whose lease has expired.", stuck[:STUCK_COUNTED].count())


def _clusters(facts: Facts) -> Iterator[Metric]:
    alive = [cluster for cluster in facts.clusters if not cluster.lost]
    yield _gauge("legwork_clusters_up", "Clusters that report.", len(alive))
    yield _gauge("legwork_clusters_lost", "Clusters that stopped reporting.", len(facts.clusters) - len(alive))
    workers = GaugeMetricFamily("legwork_workers", "Worker processes.", labels=["role"])
    busy = GaugeMetricFamily("legwork_workers_busy", "Worker processes that run a job.", labels=["role"])
    for role in WORKER_ROLES:
        processes = [process for cluster in alive for process in cluster.workers(role)]
        workers.add_metric([role], len(processes))
        busy.add_metric([role], sum(bool(process["busy"]) for process in processes))
    memory = GaugeMetricFamily("legwork_cluster_memory_bytes", "Memory of its processes.", labels=["cluster"])
    replaced = GaugeMetricFamily("legwork_workers_replaced", "Workers that were replaced.", labels=["cluster"])
    skew = GaugeMetricFamily("legwork_clock_skew_seconds", "Ahead of the database's clock.", labels=["cluster"])
    for cluster in alive:
        memory.add_metric([cluster.name], cluster.memory)
        replaced.add_metric([cluster.name], cluster.replacements)
        skew.add_metric([cluster.name], cluster.clock_skew)
    up = GaugeMetricFamily("legwork_service_up", "1 if the service (broker, cache) answers.", labels=["service"])
    for service in facts.services:
        up.add_metric([service.name], 0 if service.problem else 1)
    yield from (workers, busy, memory, replaced, skew, up)


def _mail(facts: Facts) -> Iterator[Metric]:
    mail = CounterMetricFamily("legwork_mail", "Mail by what happened.", labels=["provider", "outcome"])
    for row in MailFigures.objects.filter(minute=EVER).order_by("provider", "outcome"):
        mail.add_metric([row.provider, row.outcome], row.count)
    webhooks = CounterMetricFamily(
        "legwork_webhooks", "Webhooks by how they were answered.", labels=["service", "outcome"]
    )
    for labels, count in Counter.objects.totals(WEBHOOKS).items():
        webhooks.add_metric(labels, count)
    is_open = GaugeMetricFamily("legwork_mail_provider_open", "1 while its breaker is open.", labels=["provider"])
    for provider in facts.providers:
        is_open.add_metric([provider.name], 1 if provider.opened_at else 0)
    yield from (mail, webhooks, is_open)


def _databases(facts: Facts) -> Iterator[Metric]:
    in_use = GaugeMetricFamily("legwork_replica_in_use", "1 if this process reads from it.", labels=["replica"])
    for replica in facts.replicas:
        in_use.add_metric([replica.alias], 1 if replica.in_use else 0)
    lag = GaugeMetricFamily("legwork_standby_lag_seconds", "Replay lag of a standby.", labels=["standby"])
    behind = GaugeMetricFamily("legwork_standby_behind_bytes", "WAL it has not replayed.", labels=["standby"])
    for standby in facts.standbys:
        name = standby.name or standby.address or "standby"
        lag.add_metric([name], standby.lag or 0)
        behind.add_metric([name], standby.behind or 0)
    ages = [snapshot.seconds or 0.0 for snapshot in facts.snapshots]
    dead = GaugeMetricFamily("legwork_table_dead_rows", "Dead rows, by estimate.", labels=["table"])
    live = GaugeMetricFamily("legwork_table_rows", "Rows, by estimate.", labels=["table"])
    size = GaugeMetricFamily("legwork_table_bytes", "Of a table and its indexes.", labels=["table"])
    for table in database.tables():
        dead.add_metric([table.name], table.dead)
        live.add_metric([table.name], table.live)
        size.add_metric([table.name], table.size + table.indexes)
    yield from (in_use, lag, behind, dead, live, size)
    yield _gauge("legwork_oldest_snapshot_seconds", "Age of what holds back vacuum.", max(ages, default=0.0))


def _gauge(name: str, text: str, value: Any) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
