"""Chooses the database that a handler reads: the primary or, with reads="replica", a replica that has caught up.

Caught up means: it shows everything committed before this attempt was claimed, and so all that the job's user had
written before the POST. Standbys replay commits in order, so one that shows the claim itself shows all of that.
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

MAX_WAIT = 5.0
"""Seconds that a job waits for a replica to catch up, before it reads from the primary."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.25
"""Seconds between two polls of all good replicas."""
BEYOND_ANY_REPLICA = 2**64
"""A position that no replica reaches: if the chosen one is ejected, the router falls back to the primary."""


@contextmanager
def route_reads(reads: Reads, job: Job, handler: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """The handler, to be called in the body.

    Waiting for a replica is part of that call, so it can be interrupted. Setting the route is not, so an interruption
    cannot leave the route behind for the worker's own statements.
    """
    if reads == "primary":
        yield handler
        return
    pool.ensure_probed()
    with routed(Route(may_use_replicas=True, position=BEYOND_ANY_REPLICA)) as route:

        def call() -> Result:
            route.chosen = caught_up_replica(job)
            return handler()

        yield call


def caught_up_replica(job: Job) -> str:
    """A good replica that shows the job's current attempt, else the primary."""
    pause = FIRST_PAUSE
    until = time.monotonic() + MAX_WAIT
    while candidates := pool.good():
        for alias in candidates:
            if _has_caught_up(alias, job):
                log.info("job_reads_from_replica", replica=alias)
                return alias
        if time.monotonic() >= until:
            log.warning("replicas_too_late", waited=MAX_WAIT)
            return PRIMARY
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return PRIMARY


def _has_caught_up(alias: str, job: Job) -> bool:
    """Asks the replica, on the connection that the handler will use. A replica that fails is ejected."""
    try:
        connections[alias].close_if_unusable_or_obsolete()
        current_attempt = Job.objects.using(alias).filter(pk=job.pk, attempt=job.attempt, worker=job.worker)
        return current_attempt.exists()
    except (DatabaseError, InterfaceError) as error:
        log.warning("replica_failed", replica=alias, error=repr(error))
        connections[alias].close()
        pool.eject(alias)
        return False
