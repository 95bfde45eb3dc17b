"""A request that waits for a lease: what wakes it, and when it claims. With real processes: tests/system/jobs."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.exceptions import APIException
from rest_framework.response import Response

from jobs.models.ids import new_id
from jobs.remote import waiting
from jobs.remote.waiting import LeaseWait
from rest.requests.idempotency import KeyReused
from rest.responses import Conflict
from rest.watch.table import State
from routers import pool

KINDS = ("device.sync", "device.task")
LEASED = Response({"id": "1-1"}, status=201, headers={"Location": "/leases/1-1/"})
NOTHING = Response(status=204)


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_found_nothing", {})


class Lease:
    """Answers in turn, and counts how often it is asked."""

    def __init__(self, *answers: Response | APIException) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> Response:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def state(status: str = "queued", kind: str = "device.task", due_in: float = 0.0) -> State:
    values: dict[str, Any] = {"status": status, "kind": kind, "run_at": timezone.now() + timedelta(seconds=due_in)}
    return State(new_id(), 1, 1, values)


@pytest.mark.parametrize(
    ("changed", "wakes"),
    [
        (state(), True),
        (state(kind="device.sync"), True),
        (state(kind="device.other"), False),
        (state("retrying", due_in=-1), True),
        (state("retrying", due_in=24 * 3600), False),
        (state("scheduled", due_in=24 * 3600), False),
        (state("running"), False),
        (state("succeeded"), False),
    ],
)
def test_only_a_job_that_is_due_wakes_a_waiting_request(changed: State, wakes: bool) -> None:
    assert LeaseWait(1, KINDS, Lease()).may_be_due(changed) is wakes


def test_a_waiting_request_is_answered_with_the_lease() -> None:
    answer = LeaseWait(1, KINDS, Lease(LEASED)).again()
    assert answer is not None
    assert (answer.status, answer.body, answer.headers) == (201, b'{"id":"1-1"}', {"Location": "/leases/1-1/"})


def test_a_request_waits_on_if_there_is_nothing_or_its_worker_is_busy() -> None:
    lease = Lease(NOTHING, Conflict("busy"))
    wait = LeaseWait(1, KINDS, lease)
    assert wait.again() is None
    assert wait.may_be_due(state())
    assert wait.again() is None
    assert lease.asked == 2


def test_a_key_that_another_request_has_used_meanwhile_ends_no_wait_with_an_error() -> None:
    wait = LeaseWait(1, KINDS, Lease(KeyReused(), LEASED))
    assert wait.may_be_due(state())
    assert wait.again() is None
    assert wait.may_be_due(state())
    assert (answer := wait.again())
    assert answer.status == 201


def test_the_next_reads_of_a_user_who_got_a_lease_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[Any] = []
    monkeypatch.setattr(pool, "record_writes", recorded.append)
    replayed = Response({}, status=201, headers={"Location": "/leases/1-1/", "Idempotency-Replayed": "true"})
    wait = LeaseWait(7, KINDS, Lease(NOTHING, replayed))
    assert wait.may_be_due(state())
    assert (wait.again(), recorded) == (None, [])
    assert wait.may_be_due(state())
    assert (answer := wait.again())
    assert (recorded, answer.headers["Idempotency-Replayed"]) == ([[7]], "true")


def test_of_many_that_are_woken_together_only_one_asks_when_nothing_is_left() -> None:
    lease = Lease(LEASED, NOTHING)
    crowd = [LeaseWait(1, KINDS, lease) for _ in range(100)]
    assert all(wait.may_be_due(state()) for wait in crowd)
    assert [wait.again() is not None for wait in crowd] == [True] + [False] * 99
    assert lease.asked == 2


def test_for_another_user_and_after_a_later_change_a_claim_is_tried_again() -> None:
    assert LeaseWait(1, KINDS, Lease(NOTHING)).again() is None
    assert LeaseWait(2, KINDS, Lease(LEASED)).again() is not None
    later = LeaseWait(1, KINDS, Lease(LEASED))
    assert later.may_be_due(state())
    assert later.again() is not None
