"""Claims of jobs without a broker: the arguments of a Claim, with names in any collection."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from jobs.models import Job
from jobs.models.queue.claim import Claim
from jobs.models.queue.due import STARVED_AFTER
from jobs.models.queue.low_water import LowWater


def make_claim(
    worker: str = "",
    *,
    by_age: bool | timedelta = False,
    queues: Collection[str] | None = None,
    kinds: Collection[str] | None = None,
    short: Collection[str] | None = None,
    without_users: Collection[int] = (),
    **others: Any,
) -> Claim:
    """by_age: whether, or the time for which a job must have been due."""
    return Claim(
        worker,
        queues=None if queues is None else tuple(queues),
        kinds=None if kinds is None else tuple(kinds),
        short=None if short is None else tuple(short),
        without_users=tuple(without_users),
        overdue=STARVED_AFTER if by_age is True else by_age or None,
        **others,
    )


def claim_jobs(worker: str, *, low_water: LowWater | None = None, **arguments: Any) -> list[Job]:
    """Claim for a main thread."""
    return list(Job.objects.claim(make_claim(worker, **arguments), low_water))


def claim_for_pools(worker: str, free: Mapping[str, int], *, queue: str | None = None, **arguments: Any) -> list[Job]:
    """Claim for pools of threads. free: idle threads by pool."""
    return list(Job.objects.claim(make_claim(worker, threads=free, queues=queue and [queue], **arguments)))


def due_jobs(**arguments: Any) -> Any:
    """What a claim for a main thread could take now."""
    return Job.objects.matching(make_claim(**arguments))
