"""`Prefer: wait` on POST leases/: the request is held until a job of the worker's kinds is due (rest/watch).

A change of one of the user's jobs wakes every waiting worker of that user in this process, and most find nothing. So
the start of the last claim that found nothing is remembered: a worker that was woken before it need not claim too.
"""

import time
from collections.abc import Callable, Sequence

from django.db import InterfaceError, OperationalError
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api.watching import JOBS
from jobs.models.states import Status
from rest.json import dumps
from rest.watch.plans import Answer, repeat
from rest.watch.table import State
from routers import pool

MOST_REMEMBERED = 10_000

Wanted = tuple[int, tuple[str, ...]]
"""A user's id and kinds."""

_found_nothing: dict[Wanted, float] = {}
"""When the last claim that found nothing began, by time.monotonic()."""


class LeaseWait:
    """One request that waits. lease: what the view does for one try; it may raise APIException."""

    def __init__(self, user_id: int, kinds: Sequence[str], lease: Callable[[], Response]) -> None:
        self._wanted: Wanted = (user_id, tuple(kinds))
        self._lease = lease
        self._woken_at = time.monotonic()

    def hold(self, request: Request, response: Response) -> None:
        """Have this 204 held if the client prefers to wait."""
        repeat(request, response, JOBS.of_owner(self._wanted[0]), self.may_be_due, self.again)

    def may_be_due(self, state: State) -> bool:
        """Whether a claim is worth trying now that a job has come to this state."""
        row = state.values
        due = row["status"] == Status.QUEUED or (
            row["status"] in (Status.SCHEDULED, Status.RETRYING) and row["run_at"] <= timezone.now()
        )
        if due and row["kind"] in self._wanted[1]:
            self._woken_at = time.monotonic()
            return True
        return False

    def again(self) -> Answer | None:
        """The lease; None to go on waiting."""
        if _found_nothing.get(self._wanted, 0.0) >= self._woken_at:
            return None
        began = time.monotonic()
        try:
            response = self._lease()
        except (APIException, OperationalError, InterfaceError):
            return None  # if it persists, the worker's next request gets this error
        if response.status_code == status.HTTP_204_NO_CONTENT:
            _remember_nothing(self._wanted, began)
            return None
        pool.record_writes([self._wanted[0]])
        headers = {name: response[name] for name in ("Location", "Idempotency-Replayed") if name in response}
        return Answer(dumps(response.data), headers, response.status_code)


def _remember_nothing(wanted: Wanted, began: float) -> None:
    if len(_found_nothing) >= MOST_REMEMBERED:
        _found_nothing.clear()
    _found_nothing[wanted] = began
