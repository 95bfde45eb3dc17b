"""The dispatcher process: it rescues lost jobs, announces what is due, and runs schedules and maintenance tasks.

Any number of dispatchers may run at once. The main thread does what must happen every second. Schedules and maintenance
may take long or wait for a lock, so each has a thread, and a database connection, of its own.
"""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import structlog
from django.db import close_old_connections, connection, connections
from django_q.brokers import Broker
from django_q.scheduler import scheduler

from jobs import housekeeping
from jobs.models import Job
from jobs.rescue import rescue
from jobs.worker.heartbeat import BEAT

log = structlog.get_logger(__name__)

TICK = 1.0
"""Seconds between two rounds, and between two looks at the maintenance tasks."""
SCHEDULES_EVERY = 30.0
"""Seconds between two looks at django-q's schedules."""
RENEWALS_FIRST = 2 * BEAT
"""Seconds after an outage in which the living renew their leases before the others are rescued."""
STOP_WITHIN = 1.0
"""Seconds that a stopping dispatcher waits for each thread to end its present step."""


class Dispatcher:
    """One per cluster, in a process of its own."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
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
        scheduler(broker=self.broker)

    def start_threads(self) -> None:
        for step, pause in ((self.run_schedules, SCHEDULES_EVERY), (housekeeping.run_due_tasks, TICK)):
            thread = threading.Thread(target=self._repeat, args=(step, pause), name=step.__name__, daemon=True)
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

    def _repeat(self, step: Callable[[], object], pause: float) -> None:
        """The connection is closed in each pause: there is little to do, and many clusters share a server."""
        while not self._over.is_set():
            succeeds(step.__name__, step)
            connections.close_all()
            self._over.wait(pause)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True


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
