"""The reserve worker: an extra process that claims only while long jobs of users at their ceiling occupy all workers.

Long jobs cannot be interrupted without losing their work, and a worker kept free would be idle most of the time. So
this process runs beside the ordinary ones, for the jobs of other users that arrive meanwhile.
"""

import time
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from jobs.models import Job
from jobs.worker.process import ProcessHandle
from jobs.worker.watchdog import Watchdog
from jobs.worker.worker import Broker, Worker

OCCUPIED_AFTER = 0.5
"""Seconds that each ordinary worker must have been at the same job."""
LOOK_EVERY = 0.25
"""Seconds between two looks."""
SHARE = 20.0
"""After a claim that found nothing, the next one is delayed by this many times its duration, if that is longer."""


class ReserveBroker(Broker, Protocol):
    def claim_for_others(self, worker: str) -> list[Job]: ...


class ReserveWorker(Worker):
    """watched: the watchdogs of the ordinary workers."""

    def __init__(self, handle: ProcessHandle, broker: ReserveBroker, watched: Sequence[Watchdog]) -> None:
        super().__init__(handle, broker)
        self.reserve_broker = broker
        self.occupation = Occupation(watched)
        self._claim_at = 0.0

    def turn(self) -> None:
        if not self.occupation.is_complete():
            return self._pause()
        started = time.monotonic()
        claimed = self.reserve_broker.claim_for_others(self.name) if started >= self._claim_at else []
        if not claimed:
            self._claim_at = max(self._claim_at, time.monotonic() + (time.monotonic() - started) * SHARE)
            return self._pause()
        self.buffer.add_claimed(claimed, since=started)
        return self._run_claimed()

    def _pause(self) -> None:
        if not self.stopping:
            time.sleep(LOOK_EVERY)


class Occupation:
    """For how long each worker has been at its present job, as seen from outside."""

    def __init__(self, watched: Sequence[Watchdog]) -> None:
        self.watched = watched
        self._since: list[tuple[UUID | None, float]] = [(None, 0.0)] * len(watched)

    def is_complete(self) -> bool:
        """Whether all of them have been at the same job for OCCUPIED_AFTER seconds."""
        now = time.monotonic()
        for index, watchdog in enumerate(self.watched):
            job = next((each.job_id for each in watchdog.started()), None)
            if job is None or job != self._since[index][0]:
                self._since[index] = (job, now)
        return bool(self.watched) and all(job and now - since >= OCCUPIED_AFTER for job, since in self._since)
