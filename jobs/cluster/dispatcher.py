"""The dispatcher process: rescues lost jobs, wakes workers for due jobs, runs schedules and maintenance tasks.

Any number of dispatchers may run at once. The main thread does what must happen every second. Schedules and maintenance
may be slow or wait for locks, so each has its own thread and database connection.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import FrameType

import structlog
from django.db import close_old_connections, connection, connections
from django.utils import timezone
from django_q.brokers import Broker

from jobs.cluster import maintenance
from jobs.cluster.process import CLUSTER_ID, Process
from jobs.cluster.reports import ClusterReport
from jobs.django_q.cluster_status import ClusterStatus
from jobs.django_q.schedules import Schedules
from jobs.models import Job
from jobs.models.queue.clock import database_now
from jobs.worker.heartbeat import RENEW_EVERY
from jobs.worker.rescue import rescue
from rest import outage

log = structlog.get_logger(__name__)

TICK = 1.0
"""Seconds between two rounds, and between two checks of the maintenance tasks."""
MIN_PAUSE = 0.02
"""Seconds between two polls of django-q's schedules while many are due."""
STATUS_EVERY = 2.0
"""Seconds between two publications of the status for django-q's monitoring."""
ALL_LEASES_EVERY, SHARE, ALL_LEASES_WITHIN = 5.0, 20.0, 60.0
"""The pause between two scans of all leases: SHARE times as long as a scan took, but within these limits in seconds.
In between only leases that have just expired are read: while a transaction holds a snapshot, the index of leases begins
with a dead entry for every job that has run since."""
RESCUE_DELAY_AFTER_OUTAGE = 2 * RENEW_EVERY
"""Seconds after an outage without rescue: live workers must first be able to renew their leases."""
STOP_WITHIN = 1.0
"""Seconds that a stopping dispatcher waits for each thread to end its current step."""


class Dispatcher:
    """One per cluster. workers: the processes whose state it publishes."""

    def __init__(self, broker: Broker, workers: Sequence[Process] = ()) -> None:
        self.broker = broker
        self.workers = workers
        self.schedules = Schedules(broker)
        self.status = ClusterStatus(CLUSTER_ID)
        self.report = ClusterReport(workers)
        self._status_at = 0.0
        self._pause = TICK
        self.stopping = False
        self.rescue_not_before = 0.0
        self.all_leases_at = 0.0
        self._expired_until: datetime | None = None
        self._stop_requested = threading.Event()
        self._threads: list[threading.Thread] = []
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def run(self) -> None:
        """One round every TICK until SIGTERM. No error ends it, not even a database outage."""
        self.start_threads()
        while not self.stopping:
            time.sleep(max(TICK, outage.database.pause()))
            self.round()
        self.stop_threads()
        connections.close_all()

    def round(self) -> None:
        """Rescue lost jobs and wake workers; an error of one does not prevent the other."""
        if time.monotonic() >= self.rescue_not_before:
            if run_step("rescue", self.rescue_expired):
                outage.database.end()
            else:
                self._postpone_rescue()
        run_step("wake_for_due_jobs", self.broker.wake_for_due_jobs)
        if _connection_failed():
            self._postpone_rescue()

    def rescue_expired(self) -> None:
        """Rows that are locked now are found by the next scan of all leases."""
        started, now = time.monotonic(), database_now()
        scan_all = started >= self.all_leases_at
        rescue(Job.objects.expired(None if scan_all else self._expired_until))
        self._expired_until = now - timedelta(seconds=TICK)  # a margin: database_now() extrapolates an earlier reading
        if scan_all:
            pause = min(SHARE * (time.monotonic() - started), ALL_LEASES_WITHIN)
            self.all_leases_at = started + max(pause, ALL_LEASES_EVERY)

    def run_schedules(self) -> None:
        """Enqueue a django-q task for each schedule that is due."""
        self._pause = TICK
        self.schedules.fire_due()
        self._pause = pause_until(self.schedules.next_run(), timezone.now())

    def publish_status(self) -> None:
        """For qinfo and django-q's other monitors; at most every STATUS_EVERY seconds."""
        if time.monotonic() < self._status_at:
            return
        self._status_at = time.monotonic() + STATUS_EVERY
        self.status.publish(
            self.broker,
            [worker.pid for worker in self.workers],
            busy=any(worker.busy for worker in self.workers),
            reincarnations=sum(worker.replacements for worker in self.workers),
        )
        outage.cache.end()

    def start_threads(self) -> None:
        for target in (self._schedule_loop, self._maintenance_loop):
            thread = threading.Thread(target=target, name=target.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop_threads(self) -> None:
        """A thread in a longer step ends with the process: every step may be cut off at any statement."""
        self._stop_requested.set()
        for thread in self._threads:
            thread.join(STOP_WITHIN)

    def _postpone_rescue(self) -> None:
        self.rescue_not_before = time.monotonic() + RESCUE_DELAY_AFTER_OUTAGE

    def _schedule_loop(self) -> None:
        while not self._stop_requested.is_set():
            run_step("run_schedules", self.run_schedules)
            run_step("publish_status", self.publish_status)
            run_step("report_cluster", self.report.write)
            self._stop_requested.wait(max(self._pause, outage.database.pause()))
        run_step("withdraw_status", lambda: self.status.withdraw(self.broker))
        run_step("withdraw_report", self.report.withdraw)
        connections.close_all()

    def _maintenance_loop(self) -> None:
        """Closes its connection in each pause: there is little to do, and many clusters share a server."""
        while not self._stop_requested.is_set():
            run_step("run_due_tasks", maintenance.run_due_tasks)
            connections.close_all()
            self._stop_requested.wait(max(TICK, outage.database.pause()))

    def _on_sigterm(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True


def pause_until(next_schedule: datetime | None, now: datetime) -> float:
    """Seconds until the next poll of the schedules: until the next one is due, but at most TICK."""
    if next_schedule is None:
        return TICK
    return min(max((next_schedule - now).total_seconds(), MIN_PAUSE), TICK)


def run_step(name: str, step: Callable[[], object]) -> bool:
    """False if the step failed. Its error is logged, and the next step runs all the same."""
    try:
        close_old_connections()
        step()
    except Exception as error:
        if not outage.note(error, outage.cache):
            log.warning("dispatcher_step_failed", step=name, exc_info=True)
        return False
    return True


def _connection_failed() -> bool:
    """True if the connection broke; False after an error that the database itself returned."""
    return connection.errors_occurred and not connection.is_usable()
