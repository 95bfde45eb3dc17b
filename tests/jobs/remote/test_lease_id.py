"""Ids of leases as clients send them."""

from uuid import UUID

import pytest

from jobs.models import Job
from jobs.remote.lease_id import MAX_ATTEMPT, LeaseId, NoSuchLease

JOB = UUID("019ac0de-0000-7000-8000-00000000000a")


@pytest.mark.parametrize("attempt", [1, 20, MAX_ATTEMPT])
def test_an_id_is_read_as_it_was_written(attempt: int) -> None:
    lease_id = LeaseId.of(Job(pk=JOB, attempt=attempt))
    assert str(lease_id) == f"{JOB}-{attempt}"
    assert LeaseId.parse(str(lease_id)) == lease_id == LeaseId(JOB, attempt)


@pytest.mark.parametrize(
    "text",
    [
        *["", "x", str(JOB), f"{JOB}-", f"{JOB}-0", f"{JOB}-01", f"{JOB}--1", f"{JOB}-x", f"{JOB}-1-1", f" {JOB}-1"],
        *[f"{JOB}-1\n", f"{JOB}-{MAX_ATTEMPT + 1}", f"{JOB}-10000000000", f"{str(JOB).upper()}-1", f"{JOB.hex}-1"],
    ],
)
def test_an_id_that_no_lease_can_have_is_refused(text: str) -> None:
    with pytest.raises(NoSuchLease) as error:
        LeaseId.parse(text)
    assert error.value.args == (text,)
