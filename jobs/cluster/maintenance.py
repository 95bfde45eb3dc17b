"""Registers maintenance tasks, which apps define in their maintenance.py, and runs those that are due (dispatcher).

They are registered by every(): as a decorator, or called with a function of another module.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog
from django.db import close_old_connections

from rest import outage

log = structlog.get_logger(__name__)

Task = Callable[[], int | Iterator[int]]
"""Returns how many rows or files it processed, or yields that for each batch. Other tasks may run in between."""
SLICE = 0.1
"""Seconds that a task may work in each one-second round of a dispatcher: a backlog must not slow down the queue."""
FIRST_BACKOFF, MAX_BACKOFF = 1.0, 300.0
"""Seconds between a task's failure and its next run: after the first failure in a row, and at most."""


@dataclass(slots=True)
class MaintenanceTask:
    """A task of this process. due_at: by time.monotonic(), at first at once. failures: in a row."""

    function: Task
    seconds: float
    due_at: float = 0.0
    failures: int = 0
    _batches: Iterator[int] | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)

    def run(self) -> None:
        """Do the task's work, or some batches of it: the task stays due until all are done.

        Whatever the task raises is logged, even SystemExit: it must not keep the other tasks from running.
        """
        name = self.function.__name__
        try:
            close_old_connections()
            if not self._work():
                return
        except BaseException as error:
            self._batches = None
            if outage.database.note(error):
                self.due_at = time.monotonic() + outage.database.pause()
                return
            self.failures += 1
            wait = backoff(self.failures, self.seconds)
            log.error("maintenance_task_failed", task=name, failures=self.failures, retry_in=wait, exc_info=True)
        else:
            self.failures, wait = 0, self.seconds
            if self._count:
                log.info("maintenance_task_done", task=name, count=self._count)
        self.due_at = time.monotonic() + wait

    def _work(self) -> bool:
        """Returns True when all batches are done."""
        if self._batches is None:
            result = self.function()
            self._batches, self._count = iter([result]) if isinstance(result, int) else result, 0
        until = time.monotonic() + SLICE
        for count in self._batches:
            self._count += count
            if time.monotonic() >= until:
                return False
        self._batches = None
        return True


_tasks: list[MaintenanceTask] = []


def every(*, minutes: float) -> Callable[[Task], Task]:
    """Register a function that returns how many rows or files it processed.

    It may run in several dispatchers at once, and may be cut off at any statement.
    """

    def register(function: Task) -> Task:
        _tasks.append(MaintenanceTask(function, minutes * 60))
        return function

    return register


hourly = every(minutes=60)


def backoff(failures: int, period: float) -> float:
    """Seconds until a task that failed this many times in a row runs again; at most its usual period."""
    return min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 30), MAX_BACKOFF, period)


def run_due_tasks() -> None:
    for task in _tasks:
        if time.monotonic() >= task.due_at:
            task.run()
