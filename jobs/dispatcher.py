"""The cluster's housekeeper: what no worker would do for the others. Any number may run at once."""

import signal
import time
from types import FrameType

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django_q.brokers import Broker
from django_q.scheduler import scheduler

from jobs import housekeeping
from jobs.models import Job
from jobs.rescue import rescue
from jobs.worker.heartbeat import BEAT

log = structlog.get_logger(__name__)

TICK = 1.0
"""Seconds between two rounds."""
SCHEDULES_EVERY = 30
"""Rounds between two looks at django-q's own schedules."""
RENEWALS_FIRST = 2 * BEAT
"""Seconds after an outage in which the living renew their leases before the others are rescued."""


class Dispatcher:
    """One per cluster, in a process of its own."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.rounds = 0
        self.stopping = False
        self.rescue_from = 0.0
        signal.signal(signal.SIGTERM, self._stop)

    def run(self) -> None:
        """Do the rounds until SIGTERM; a database that is away is waited for."""
        while not self.stopping:
            time.sleep(TICK)
            try:
                self.round()
            except (DatabaseError, InterfaceError, OSError):
                log.warning("dispatcher_round_failed", exc_info=True)
                self.rescue_from = time.monotonic() + RENEWALS_FIRST
        connections.close_all()

    def round(self) -> None:
        close_old_connections()
        if time.monotonic() >= self.rescue_from:
            rescue(Job.objects.expired())
        self.broker.notice_what_waits()
        if self.rounds % SCHEDULES_EVERY == 0:
            scheduler(broker=self.broker)
        housekeeping.do_what_is_due()
        self.rounds += 1

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True
