"""Which due jobs may be claimed together: short ones, whose loss with their worker would not fail them."""

from collections.abc import Collection, Sequence
from itertools import takewhile
from uuid import UUID

Candidate = tuple[UUID, str, int, int | None]
"""What is looked at of a due job: COLUMNS."""
COLUMNS = ("id", "kind", "attempt", "max_attempts")
MAY_BE_IN_A_BATCH = "kind = ANY (%s) AND attempt = 0 AND max_attempts IS DISTINCT FROM 1"
"""_may_be_in_a_batch() in SQL."""


def first_batch(candidates: Sequence[Candidate], short: Collection[str] | None) -> list[Candidate]:
    """Of due jobs, best first: the leading ones that may be claimed together, else the first one alone.

    short: kinds whose jobs take little time; None means that all jobs may be claimed together.
    """
    if short is None:
        return list(candidates)
    together = takewhile(lambda candidate: _may_be_in_a_batch(candidate, short), candidates)
    return list(together) or list(candidates[:1])


def _may_be_in_a_batch(candidate: Candidate, short: Collection[str]) -> bool:
    """False if one lost attempt would fail the job, or if it may have been the job that ended its last worker."""
    _, kind, attempt, max_attempts = candidate
    return kind in short and attempt == 0 and max_attempts != 1
