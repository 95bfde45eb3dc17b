"""Where a handler reads: from the primary, or, of a kind with reads="replica", from a replica that knows enough.

Enough is what was committed before this attempt was claimed, with it what the job's user had written before the POST: a
standby replays commits in their order, so one that shows the claim itself shows all of that too.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connections

from jobs.models import Job
from jobs.registry import Reads
from routers import PRIMARY, Route, pool, routed

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

PATIENCE = 5.0
"""Seconds that a job waits for a replica to know it; a primary that is burdened is better than a job that hangs."""
PAUSES = (0.005, 0.25)
"""Seconds between two rounds of all good replicas: at first, and at most."""
NO_OTHER = 2**64
"""More than any replica has replayed: should the chosen one be put out, the primary takes its place and no other."""


@contextmanager
def reading_from(reads: Reads, job: Job, handler: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """The handler as it is to be called in the body. Waiting for a replica is a part of the call, so that it can be
    interrupted; the route is not, so that no interruption leaves it behind for the worker's own statements."""
    if reads == "primary":
        yield handler
        return
    pool.watch()
    with routed(Route(may_use_replicas=True, position=NO_OTHER)) as route:

        def call() -> Result:
            route.chosen = replica_that_knows(job)
            return handler()

        yield call


def replica_that_knows(job: Job) -> str:
    """A good replica that shows the job's present attempt, or else the primary."""
    pause, most = PAUSES
    until = time.monotonic() + PATIENCE
    while candidates := pool.good():
        for alias in candidates:
            if _knows(alias, job):
                log.info("job_reads_from_replica", replica=alias)
                return alias
        if time.monotonic() >= until:
            log.warning("replicas_too_late", waited=PATIENCE)
            return PRIMARY
        time.sleep(pause)
        pause = min(2 * pause, most)
    return PRIMARY


def _knows(alias: str, job: Job) -> bool:
    """By its own word, on the connection that the handler will use; a replica that fails is put out."""
    try:
        connections[alias].close_if_unusable_or_obsolete()
        present = Job.objects.using(alias).filter(pk=job.pk, attempt=job.attempt, worker=job.worker)
        return present.exists()
    except (DatabaseError, InterfaceError):
        log.warning("replica_failed", replica=alias, exc_info=True)
        connections[alias].close()
        pool.put_out(alias)
        return False
