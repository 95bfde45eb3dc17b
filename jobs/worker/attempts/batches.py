"""What a kind does for many of its jobs at once: before their handlers start, and with what these returned."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from jobs.models import Job
from jobs.registry import Conclude, UnknownKind, find_kind, kinds

log = structlog.get_logger(__name__)

Arguments = dict[str, Any]
"""Of a handler."""
Returned = tuple[Job, object]
"""A job and what its handler returned."""


def prepare(jobs: Sequence[Job]) -> dict[UUID, Arguments]:
    """The handlers' arguments by job, of kinds with prepare=. Where that fails, handlers get their usual arguments."""
    prepared: dict[UUID, Arguments] = {}
    for kind in kinds() if jobs else ():
        if kind.prepare and (of_kind := [job for job in jobs if job.kind == kind.name]):
            try:
                arguments = kind.prepare([kind.handler_arguments(job.params) for job in of_kind])
                prepared |= dict(zip((job.pk for job in of_kind), arguments, strict=True))
            except Exception:
                log.warning("prepare_failed", kind=kind.name, exc_info=True)
    return prepared


def conclude(returned: Sequence[Returned]) -> list[Returned]:
    """The results to store, in any order: kinds with conclude= make them of what their handlers returned."""
    results: list[Returned] = []
    waiting: defaultdict[Conclude, list[Returned]] = defaultdict(list)
    for job, value in returned:
        if conclude_of_kind := _conclude_of(job.kind):
            waiting[conclude_of_kind].append((job, value))
        else:
            results.append((job, value))
    for conclude_of_kind, of_kind in waiting.items():
        concluded = conclude_of_kind([value for _, value in of_kind])
        results += zip((job for job, _ in of_kind), concluded, strict=True)
    return results


def _conclude_of(kind: str) -> Conclude | None:
    try:
        return find_kind(kind).conclude
    except UnknownKind:
        return None
