"""The dispatcher process: it rescues lost jobs, announces what is due, and runs schedules and maintenance tasks.

Any number of dispatchers may run at once. The main thread does what must happen every second. Schedules and maintenance
may take long or wait for a lock, so each has a thread, and a database connection, of its own.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from types import FrameType

import structlog
from django.db import close_old_connections, connection, connections
from django.utils import timezone
from django_q.brokers import Broker

from jobs.cluster import maintenance
from jobs.cluster.process import CLUSTER, Process
from jobs.django_q.cluster_status import ClusterStatus
from jobs.django_q.schedules import Schedules
from jobs.models import Job
from jobs.worker.heartbeat import BEAT
from jobs.worker.rescue import rescue

log = structlog.get_logger(__name__)

TICK = 1.0
"""Seconds between two rounds, and between two looks at the maintenance tasks."""
SHORTEST_PAUSE = 0.02
"""Seconds between two looks at django-q's schedules while many are due."""
STATUS_EVERY = 2.0
"""Seconds between two statuses for django-q's monitoring."""
RENEWALS_FIRST = 2 * BEAT
"""Seconds after an outage in which the living renew their leases before the others are rescued."""
STOP_WITHIN = 1.0
"""Seconds that a stopping dispatcher waits for each thread to end its present step."""


class Dispatcher:
    """One per cluster, in a process of its own."""

    def __init__(self, broker: Broker, workers: Sequence[Process] = ()) -> None:
        self.broker = broker
        self.workers = workers
        self.schedules = Schedules(broker)
        self.status = ClusterStatus(CLUSTER)
        self._status_at = 0.0
        self._pause = TICK
        self.stopping = False
        self.rescue_from = 0.0
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        signal.signal(signal.SIGTERM, self._stop)

    def run(self) -> None:
        """Do the rounds until SIGTERM. No error ends it; a database that is away is waited for."""
        self.start_threads()
        while not self.stopping:
            time.sleep(TICK)
            self.round()
        self.stop_threads()
        connections.close_all()

    def round(self) -> None:
        """Rescue and announce, each whether or not the other fails."""
        if time.monotonic() >= self.rescue_from and not succeeds("rescue", self._rescue):
            self._let_renewals_go_first()
        succeeds("announce", self.broker.notice_what_waits)
        if _connection_failed():
            self._let_renewals_go_first()

    def run_schedules(self) -> None:
        """Enqueue django-q tasks whose schedule is due."""
        self._pause = TICK
        self.schedules.fire_due()
        self._pause = pause_before(self.schedules.next_run(), timezone.now())

    def publish_status(self) -> None:
        """Every STATUS_EVERY: for qinfo and its like."""
        if time.monotonic() < self._status_at:
            return
        self._status_at = time.monotonic() + STATUS_EVERY
        self.status.publish(
            self.broker,
            [worker.pid for worker in self.workers],
            busy=any(worker.busy for worker in self.workers),
            reincarnations=sum(worker.replacements for worker in self.workers),
        )

    def start_threads(self) -> None:
        for target in (self._keep_to_schedules, self._maintain):
            thread = threading.Thread(target=target, name=target.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop_threads(self) -> None:
        """A thread in the middle of a long step ends with the process: every step may be cut off at any statement."""
        self._over.set()
        for thread in self._threads:
            thread.join(STOP_WITHIN)

    def _rescue(self) -> None:
        rescue(Job.objects.expired())

    def _let_renewals_go_first(self) -> None:
        self.rescue_from = time.monotonic() + RENEWALS_FIRST

    def _keep_to_schedules(self) -> None:
        while not self._over.is_set():
            succeeds("run_schedules", self.run_schedules)
            succeeds("publish_status", self.publish_status)
            self._over.wait(self._pause)
        succeeds("withdraw_status", lambda: self.status.withdraw(self.broker))
        connections.close_all()

    def _maintain(self) -> None:
        """The connection is closed in each pause: there is little to do, and many clusters share a server."""
        while not self._over.is_set():
            succeeds("run_due_tasks", maintenance.run_due_tasks)
            connections.close_all()
            self._over.wait(TICK)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True


def pause_before(next_schedule: datetime | None, now: datetime) -> float:
    """Seconds until the next look at the schedules: until one is due, and at most TICK."""
    if next_schedule is None:
        return TICK
    return min(max((next_schedule - now).total_seconds(), SHORTEST_PAUSE), TICK)


def succeeds(name: str, step: Callable[[], object]) -> bool:
    """Whether a step of the dispatcher raises nothing. What it raises is logged: the next step is not its concern."""
    try:
        close_old_connections()
        step()
    except Exception:
        log.warning("dispatcher_step_failed", step=name, exc_info=True)
        return False
    return True


def _connection_failed() -> bool:
    """Whether the latest error was the connection's, and not one that the database answered with."""
    return connection.errors_occurred and not connection.is_usable()
