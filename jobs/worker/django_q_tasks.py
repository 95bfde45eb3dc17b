"""Runs django-q tasks (async_task, schedules) in a worker's main thread, with django-q's signals and options.

The broker keeps a task's package until the outcome is saved, so a task whose worker dies runs again.
"""

import math
import pydoc
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import close_old_connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django_q.brokers import Broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf, error_reporter
from django_q.exceptions import TimeoutException
from django_q.models import Task as Record
from django_q.signals import post_execute, post_execute_in_worker, pre_execute
from django_q.utils import get_func_repr

from jobs.django_q import task_results
from jobs.django_q.task_package import Forged, Task, Unreadable, unpack
from jobs.worker.attempts.connections import CleanConnections
from jobs.worker.attempts.interrupt import Interrupted, MainThread, Stopped, TimedOut
from jobs.worker.attempts.running_attempts import RunningAttempts
from jobs.worker.watchdog import Watchdog

log = structlog.get_logger(__name__)

Write = Callable[[], None]

TIME_SLICE = 0.05
"""Seconds of django-q tasks between two claims of jobs. A task that takes longer is not interrupted."""


class TaskTimedOut(TimedOut, TimeoutException):  # type: ignore[misc]
    """The task took longer than its timeout. Tasks may catch it as django-q's TimeoutException to clean up."""


def write_once(write: Write) -> None:
    """Write once: an error of the database is raised."""
    write()


class TaskThread(MainThread):
    """The main thread while it runs a task."""

    def __init__(self) -> None:
        super().__init__()
        self._timeout = math.inf

    def call(self, function: Callable[[], Any], timeout: float, databases: Sequence[BaseDatabaseWrapper] = ()) -> Any:
        """As for jobs, but a task that catches its interruption and returns has succeeded with that result."""
        results: list[Any] = []
        self._timeout = timeout

        def keep_result() -> None:
            results.append(function())

        try:
            super().call(keep_result, timeout, databases)
        except Interrupted:
            if not results:
                raise
        return results[0]

    def interrupt_if_due(self) -> None:
        if self._thread is not None and time.monotonic() >= self._interrupt_at:
            self.interrupt(TaskTimedOut(f"Task exceeded maximum timeout value ({self._timeout:g} seconds)"))


class DjangoQTasks:
    """Takes tasks from the broker and runs them. record: calls a function until the database takes what it writes."""

    def __init__(
        self, broker: Broker, running: RunningAttempts | None = None, record: Callable[[Write], None] = write_once
    ) -> None:
        self.thread = TaskThread()
        self.count = 0
        self._broker = broker
        self._running = running or RunningAttempts(Watchdog())
        self._record = record

    def run_some(self, stopping: Callable[[], bool]) -> bool:
        """Run tasks until there are none or TIME_SLICE has passed. True if there was one."""
        until = time.monotonic() + TIME_SLICE
        worked = self.run_next(stopping)
        more = worked
        while more and not stopping() and time.monotonic() < until:
            more = self.run_next(stopping)
        return worked

    def run_next(self, stopping: Callable[[], bool] = bool) -> bool:
        """Take up to `bulk` tasks from the broker and run them. When the worker stops, hand back the rest."""
        found = self._broker.dequeue() or []
        for receipt, package in found:
            if stopping():
                self._record(partial(self._broker.release, receipt))
            else:
                self.run(receipt, package)
        return bool(found)

    def run(self, receipt: Any, package: str | bytes) -> None:
        """Run the task in this package, save the outcome and acknowledge. Raises nothing that a task raises."""
        self.count += 1
        try:
            task = unpack(package) | {"cluster": Conf.CLUSTER_NAME}
        except Forged:
            log.exception("django_q_task_forged")
            self._broker.fail(receipt)
            return
        except Unreadable as unreadable:
            task = unreadable.task | {"cluster": Conf.CLUSTER_NAME}
            log.warning("django_q_task_unreadable", task_id=task["id"], task=task["name"], reason=str(unreadable))
            self._finish(task, receipt, f"This worker cannot load the task: {unreadable}", success=False)
            return
        began = time.monotonic()
        try:
            result, success = self._call(task)
        except Stopped:
            self._record(partial(self._broker.release, receipt))
            log.warning("django_q_task_handed_back", task_id=task["id"], task=task["name"])
            return
        self._finish(task, receipt, result, success)
        _log_end(task, time.monotonic() - began)

    def _call(self, task: Task) -> tuple[Any, bool]:
        """The function's result and True, or the text of its error and False."""
        timeout = _timeout(task)
        try:
            close_old_connections()
            with self._running.task(_uuid(task), self.thread, timeout), CleanConnections() as databases:
                function = _function(task["func"])
                pre_execute.send(sender="django_q", func=function, task=task)
                call = partial(function, *task["args"], **task["kwargs"])
                return self.thread.call(call, timeout, databases), True
        except Stopped:
            raise
        except BaseException as error:
            if error_reporter:
                error_reporter.report()
            return _text(error), False

    def _finish(self, task: Task, receipt: Any, result: Any, success: bool) -> None:
        task |= {"result": result, "success": success, "stopped": timezone.now(), "ack_id": receipt}
        post_execute_in_worker.send_robust(sender="django_q", func=task["func"], task=task)
        together, settled = self._is_one_transaction(task), False

        def save() -> None:
            nonlocal settled
            with transaction.atomic(using=Conf.ORM) if together else nullcontext():
                attempts = task_results.save(task, self._broker)
                settled = task["success"] or task.get("ack_failure") or 0 < Conf.MAX_ATTEMPTS <= attempts
                if settled and together:
                    self._broker.acknowledge(receipt)

        self._record(save)
        if settled and not together:
            self._record(partial(self._broker.acknowledge, receipt))
        del task["ack_id"]
        post_execute.send_robust(sender="django_q", task=task)

    def _is_one_transaction(self, task: Task) -> bool:
        """True if one commit can hold result and acknowledgement. Not with a hook: no hook runs in a transaction."""
        in_database = isinstance(self._broker, ORM) and router.db_for_write(Record) == Conf.ORM
        return in_database and not task.get("hook") and not task.get("cached")


def _timeout(task: Task) -> float:
    """Seconds; inf for no limit."""
    seconds = task.pop("timeout", None) or Conf.TIMEOUT or -1
    return seconds if seconds > 0 else math.inf


def _uuid(task: Task) -> UUID:
    """The task's id for the watchdog. async_task() generates such ids, but accepts others."""
    try:
        return UUID(hex=str(task["id"]))
    except ValueError:
        return UUID(int=0)


def _function(function: Any) -> Callable[..., Any]:
    found: Callable[..., Any] | None = function if callable(function) else pydoc.locate(function)  # type: ignore[assignment]
    if found is None:
        raise ValueError(f"Function {function} is not defined")
    return found


def _text(error: BaseException) -> str:
    """In django-q's format: the message, then the traceback."""
    try:
        message = str(error)
    except Exception:
        message = type(error).__name__
    return f"{message} : {traceback.format_exc()}"


def _log_end(task: Task, seconds: float) -> None:
    fields = {"task_id": task["id"], "task": task["name"], "func": get_func_repr(task["func"])}
    if task["success"]:
        log.info("django_q_task_succeeded", seconds=round(seconds, 3), **fields)
    else:
        log.error("django_q_task_failed", seconds=round(seconds, 3), error=task["result"], **fields)
