"""Interrupts a running handler from outside: an exception is raised between two of the handler's own bytecodes.

In the main thread a signal handler raises it, in other threads CPython's asynchronous exceptions do. It is never raised
in code that must run to its end: database backends and drivers, logging, and the engine itself. A handler that waits in
C code is woken first: its database statement is aborted, and the callbacks of Run.on_interruption are called.
"""

import ctypes
import importlib.util
import math
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

import structlog
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.worker.attempts.connections import abort_statements

log = structlog.get_logger(__name__)

Result = TypeVar("Result")
Wake = Callable[[], object]
"""Ends whatever a thread waits for in C code."""

REPEAT_AFTER = 1.0
"""Seconds after which a handler that swallowed its interruption is interrupted again."""
RETRY_AFTER = 0.02
"""Seconds until the next try if the thread was in code that must not be interrupted."""


class Interrupted(BaseException):
    """Why a handler was stopped. Not an Exception, so that `except Exception` in a handler does not swallow it."""


class TimedOut(Interrupted):
    """The attempt took longer than the job's timeout."""


class Cancelled(Interrupted):
    """The job's cancellation was requested."""


class Abandoned(Interrupted):
    """The attempt lost its lease: another one may be running."""


class Stopped(Interrupted):
    """The worker must stop; the job is handed back."""


class Interruptible(ABC):
    """A thread that calls a handler. It has no timer: the timekeeper calls interrupt_if_due() periodically."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: a signal handler may need it in the thread that holds it
        self._thread: int | None = None
        self._reason: Interrupted | None = None
        self._interrupt_at = math.inf
        self._wakes: list[Wake] = []
        self._databases: Sequence[BaseDatabaseWrapper] = ()
        self._delivered = False

    def call(
        self, function: Callable[[], Result], timeout: float, databases: Sequence[BaseDatabaseWrapper] = ()
    ) -> Result:
        """Call it, for at most timeout seconds. Raises Interrupted if it was stopped before its end.

        databases: the connections that it may use, whose statements an interruption aborts.
        """
        self._databases = databases
        try:
            try:
                self._arm(timeout)
                result = function()
            finally:
                self._disarm()
        except BaseException as error:
            self._disarm()
            if self._reason is None or not self._delivered:
                raise
            # Another error, such as a broken connection, is only how the handler noticed the interruption.
            raise self._reason from (None if isinstance(error, Interrupted) else error)
        if self._delivered and self._reason:
            raise self._reason  # the result may be based on an answer that was cut off
        return result

    def interrupt(self, reason: Interrupted) -> None:
        """Interrupt the function now, and again every REPEAT_AFTER seconds if it swallows that."""
        with self._lock:
            if self._thread is None or (self._reason and time.monotonic() < self._interrupt_at):
                return
            self._reason = self._reason or reason
            self._interrupt_at = time.monotonic() + REPEAT_AFTER
        # Before the exception: while an asynchronous exception is pending for a thread in C code, CPython 3.11 does not
        # let another thread that is traced (by coverage or a debugger) call anything.
        self._call_wakes()
        with self._lock:
            if self._thread is not None:
                self._delivered = abort_statements(self._databases) or self._delivered
                self._deliver(self._thread, self._reason)

    @contextmanager
    def on_interruption(self, wake: Wake) -> Iterator[None]:
        """While the body runs, an interruption also calls wake, in another thread."""
        self._wakes.append(wake)
        try:
            yield
        finally:
            self._wakes.remove(wake)

    def interrupt_if_due(self) -> None:
        """Interrupt the function if it has timed out or ignored the last interruption."""
        if self._thread is not None and time.monotonic() >= self._interrupt_at:
            self.interrupt(TimedOut("the attempt took longer than its timeout"))

    @property
    def interrupting(self) -> bool:
        """True if the function was interrupted and has not ended yet."""
        return self._thread is not None and self._reason is not None

    @abstractmethod
    def _deliver(self, thread: int, reason: Interrupted) -> None:
        """Raise it in the function, or call _retry_soon() if the function is in code that must not be interrupted."""

    def _arm(self, timeout: float) -> None:
        self._reason, self._delivered = None, False
        self._interrupt_at = time.monotonic() + timeout
        self._thread = threading.get_ident()

    def _disarm(self) -> None:
        with self._lock:
            self._thread = None

    def _call_wakes(self) -> None:
        for wake in self._wakes.copy():
            self._delivered = True
            try:
                wake()
            except Exception:  # it belongs to a handler, and this thread belongs to the engine
                log.exception("interruption_callback_failed")

    def _retry_soon(self) -> None:
        self._interrupt_at = time.monotonic() + RETRY_AFTER


class MainThread(Interruptible):
    """The main thread, interrupted by SIGALRM. One per process."""

    def __init__(self) -> None:
        super().__init__()
        self._stopped: Stopped | None = None

    def stop(self) -> None:
        """Interrupt this function and every later one."""
        self._stopped = Stopped("its worker has to stop")
        self.interrupt(self._stopped)

    def _arm(self, timeout: float) -> None:
        signal.signal(signal.SIGALRM, self._on_alarm)  # for each call: django-q tasks reset it to the default
        super()._arm(timeout)
        if self._stopped:
            self._reason, self._delivered = self._stopped, True
            raise self._stopped

    def _deliver(self, thread: int, reason: Interrupted) -> None:
        signal.pthread_kill(thread, signal.SIGALRM)

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        if self._thread is None or self._reason is None:
            return
        if not _may_interrupt_at(frame):
            self._retry_soon()
            return
        self._delivered = True
        raise self._reason


class OtherThread(Interruptible):
    """Any thread but the main one."""

    def _deliver(self, thread: int, reason: Interrupted) -> None:
        # The thread cannot move between the look at its frame and the exception: we lose the GIL only after another
        # thread has waited a switch interval (5 ms). If it is hit in a driver all the same, its connection is dropped.
        if not _may_interrupt_at(sys._current_frames().get(thread)):
            self._retry_soon()
            return
        self._delivered = True
        # CPython raises it at the thread's next bytecode.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(type(reason)))

    def _disarm(self) -> None:
        """No exception arrives after this: one that is pending is raised in this loop and swallowed."""
        while True:
            try:
                super()._disarm()
                for _ in range(100):
                    pass
            except Interrupted:
                continue
            return


def _may_interrupt_at(frame: FrameType | None) -> bool:
    """True if the thread with this innermost frame runs a handler, and no code that must not be interrupted."""
    innermost = frame
    while frame is not None:
        if frame.f_code is Interruptible.call.__code__:
            return frame is not innermost
        if frame.f_code.co_filename.startswith(_UNINTERRUPTIBLE):
            return False
        frame = frame.f_back
    return False


def _source(module: str) -> str:
    """The path of a module's file or a package's folder."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(module)
    return spec.origin.removesuffix("__init__.py")


_JOBS = Path(__file__).parents[2]
_CALL_HANDLERS = {"django_q_tasks.py", "replica_reads.py"}
"""Their frames are between Interruptible.call and the handler, so they must not protect it."""
_UNINTERRUPTIBLE = (
    # An exception in here could leave a connection, a lock or a route in a state that its next user does not expect.
    *map(_source, ["django.db.backends", "django.db.transaction", "django.db.utils", "psycopg2", "routers"]),
    *map(_source, ["logging", "structlog"]),
    "<frozen importlib",
    *[str(_JOBS / name) for name in ["brokers/", "models/statements.py", "models/queue/sql_postgresql.py"]],
    *[str(path) for path in (_JOBS / "worker").rglob("*.py") if path.name not in _CALL_HANDLERS],
)
"""Prefixes of the file names of code that is never interrupted, nor is what it calls."""
