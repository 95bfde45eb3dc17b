"""The id of a lease: job and attempt. So the id of a lost lease is still recognised."""

import re
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from jobs.errors import JobError
from jobs.models import Job

PATTERN = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([1-9][0-9]{0,9})")
MAX_ATTEMPT = 2**31 - 1
"""The largest value of the column."""


class NoSuchLease(JobError):
    """This user never had a lease of this id."""


@dataclass(frozen=True, slots=True)
class LeaseId:
    """Written as job-attempt: 019ac0de-0000-7000-8000-000000000000-1."""

    job_id: UUID
    attempt: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises NoSuchLease."""
        found = PATTERN.fullmatch(text)
        if found is None or int(found[2]) > MAX_ATTEMPT:
            raise NoSuchLease(text)
        return cls(UUID(found[1]), int(found[2]))

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(job.pk, job.attempt)

    def __str__(self) -> str:
        return f"{self.job_id}-{self.attempt}"
