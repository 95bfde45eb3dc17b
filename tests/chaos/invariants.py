"""After a run: is every job accounted for? Each check is a query, and each row that it returns a broken promise."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection

from jobs.models import Job
from tests.chaos.faults import Killing
from tests.chaos.kinds import INDEPENDENT
from tests.chaos.uptime import Interval, seconds_within

BAR = 45.0
"""The most seconds from the death of a worker to the next start of what it was running, while a cluster was up."""

BROKEN = {
    "has not succeeded": "SELECT id, status, attempt FROM jobs_job WHERE status <> 'succeeded'",
    "has ended more than once": """
        SELECT job, count(*) FROM chaos_transition WHERE new IN ('succeeded', 'failed', 'cancelled')
        GROUP BY job HAVING count(*) <> 1
    """,
    "has succeeded, but its end was never noted": """
        SELECT id, attempt FROM jobs_job WHERE status = 'succeeded' AND NOT EXISTS (
            SELECT FROM chaos_effect WHERE job = id AND what = 'end' AND chaos_effect.attempt = jobs_job.attempt)
    """,
    "was started more often than attempts at it have ended": """
        SELECT job, attempt, count(*) FROM chaos_effect WHERE what = 'start' GROUP BY job, attempt
        HAVING count(*) > (
            SELECT count(*) FROM chaos_transition AS left_running
            WHERE left_running.job = chaos_effect.job AND left_running.attempt = chaos_effect.attempt
                AND old = 'running')
    """,
    "has an attempt that ended without success, and no error says why": """
        SELECT job, attempt, new FROM chaos_transition WHERE old = 'running' AND new IN ('retrying', 'failed')
            AND NOT EXISTS (
                SELECT FROM jobs_job, jsonb_array_elements(errors) AS error
                WHERE id = job AND (error ->> 'attempt')::int = chaos_transition.attempt)
    """,
}

LOST = """
    SELECT job, lost.attempt, lost.worker, lost.at FROM chaos_transition AS lost
    JOIN jobs_job ON jobs_job.id = job, jsonb_array_elements(errors) AS error
    WHERE old = 'running' AND new IN ('retrying', 'failed')
        AND (error ->> 'attempt')::int = lost.attempt AND error ->> 'type' = %s
"""
LATER_STARTS = "SELECT count(*) FROM chaos_effect WHERE worker = %s AND at > %s AND what = 'start'"
FAILED_BY_A_CONNECTION = """
    SELECT id, kind, error ->> 'type', error ->> 'message' FROM jobs_job, jsonb_array_elements(errors) AS error
    WHERE kind = ANY(%s) AND error ->> 'type' <> 'WorkerLost'
"""
STARTS = (
    "SELECT job, attempt, process, extract(epoch FROM at)::float FROM chaos_effect WHERE what = 'start' ORDER BY at"
)
ENDS = "SELECT job, extract(epoch FROM at)::float FROM chaos_transition WHERE old = 'running'"


@dataclass(frozen=True)
class ReRun:
    """seconds: from the killing to the next start of the job, while a cluster was up. role: of the killed process."""

    seconds: float
    role: str
    job: UUID


def broken_promises(accepted: Collection[UUID]) -> list[str]:
    """A sentence for each job with which something is wrong."""
    kept = set(Job.objects.values_list("pk", flat=True))
    lost = [f"Job {pk} was accepted and is not there." for pk in set(accepted) - kept]
    failed = [f"A job failed that uses no connection: {row}." for row in _rows(FAILED_BY_A_CONNECTION, [INDEPENDENT])]
    return lost + failed + [f"A job {what}: {row}." for what, query in BROKEN.items() for row in _rows(query)]


def lost_though_alive(frozen: Collection[int]) -> list[str]:
    """Attempts that were recorded as lost although their worker lived on. frozen: process ids that are excepted."""
    return [
        f"Attempt {attempt} at {job} was recorded as lost at {at}, but its worker {worker} lived."
        for job, attempt, worker, at in _rows(LOST, ["WorkerLost"])
        if _process(worker) not in frozen and _rows(LATER_STARTS, [worker, at]) != [(0,)]
    ]


def lost_by_a_neighbour(replaced: Collection[str], frozen: Collection[int]) -> list[str]:
    """Attempts that were recorded as lost although their worker was killed because of another job.

    replaced: names of workers whose jobs were taken over by their successor. frozen: process ids that are excepted,
    because another cluster may have rescued their jobs before.
    """
    stalled = {worker for worker in replaced if _process(worker) not in frozen}
    known = {worker for _, _, worker, _ in _rows(LOST, ["TimedOut"]) if worker in stalled}
    return [
        f"Attempt {attempt} at {job} was lost with {worker}, which was killed for another job."
        for job, attempt, worker, _ in _rows(LOST, ["WorkerLost"])
        if worker in known
    ]


def reasons_of_extra_starts() -> Counter[str]:
    """How many attempts came to nothing, by reason."""
    reasons = Counter(error["type"] for errors in Job.objects.values_list("errors", flat=True) for error in errors)
    [[handed_back]] = _rows("SELECT count(*) FROM chaos_transition WHERE old = 'running' AND new = 'queued'")
    return reasons + Counter({"handed back": handed_back})


def extra_starts() -> int:
    [[count]] = _rows("SELECT count(*) - count(DISTINCT job) FROM chaos_effect WHERE what = 'start'")
    return int(count)


def _process(worker: str) -> int:
    return int(worker.rpartition(":")[2])


def re_runs(killings: Collection[Killing], up: Sequence[Interval]) -> list[ReRun]:
    """The next start of each job that a killing interrupted; the longest wait first. up: when a cluster was up.

    Attempts that had timed out as well are left out: the next one waits like any retry, behind all that is due.
    """
    starts, ends = _rows(STARTS), _rows(ENDS)
    timed_out = {(job, attempt) for job, attempt, *_ in _rows(LOST, ["TimedOut"])}
    found = []
    for killing in killings:
        for job, _ in _interrupted(killing, starts, ends) - timed_out:
            if again := [at for other, _, _, at in starts if other == job and at > killing.at]:
                found.append(ReRun(seconds_within(up, killing.at, min(again)), killing.role, job))
    return sorted(found, key=lambda one: -one.seconds)


def _interrupted(killing: Killing, starts: list[Any], ends: list[Any]) -> set[tuple[UUID, int]]:
    """The attempts that these processes were running when they died: started and not ended."""
    begun = {
        job: (attempt, at) for job, attempt, process, at in starts if process in killing.processes and at < killing.at
    }
    over = {job for job, at in ends if job in begun and begun[job][1] <= at <= killing.at}
    return {(job, attempt) for job, (attempt, _) in begun.items() if job not in over}


def oldest_unfinished() -> str:
    """For the case that the queue does not drain."""
    job = Job.objects.unfinished().order_by("pk").first()
    left = Job.objects.unfinished().count()
    return f"{left} left at {datetime.now(UTC):%H:%M:%S}, the oldest: {job and Job.objects.values().get(pk=job.pk)}"


def _rows(query: str, values: Collection[object] = ()) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, list(values))
        return list(cursor.fetchall())
