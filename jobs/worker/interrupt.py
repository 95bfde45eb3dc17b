"""Stopping a running handler from outside: by an exception that is raised between two of its own bytecodes.

In the main thread a signal handler raises it, in any other one CPython's asynchronous exceptions do. Code that must not
be torn apart is never struck: database backends and drivers, logging, and the engine itself. What the handler
waits for in C code is ended first (its database, and whatever it names by Run.on_interruption).
"""

import ctypes
import importlib.util
import math
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

import structlog
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.worker.database_waits import databases_of_this_thread, end_waits

log = structlog.get_logger(__name__)

Result = TypeVar("Result")
Wake = Callable[[], object]
"""Ends whatever a thread waits for in C code."""

AGAIN = 1.0
"""Seconds after which a handler that swallowed its interruption is interrupted again."""
AGAIN_SOON = 0.02
"""Seconds until the next try where the thread was in code that must not be struck."""


class Interrupted(BaseException):
    """Why a handler was stopped. Not an Exception, so that a handler's own `except Exception` does not swallow it."""


class TimedOut(Interrupted):
    """The attempt took longer than the job's timeout."""


class Cancelled(Interrupted):
    """The job's cancellation was asked for."""


class Abandoned(Interrupted):
    """The attempt lost its lease: another may be running already."""


class Stopped(Interrupted):
    """The worker has to stop, and the job is handed back."""


class Interruptible(ABC):
    """A thread while it calls a handler. It has no timer: another thread calls ring() again and again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may need it in the thread that holds it
        self._thread: int | None = None
        self._reason: Interrupted | None = None
        self._ring_at = math.inf
        self._wakes: list[Wake] = []
        self._databases: list[BaseDatabaseWrapper] = []
        self._struck = False

    def call(self, function: Callable[[], Result], timeout: float) -> Result:
        """Call it, for at most timeout seconds; raises Interrupted when it was stopped before its end."""
        self._databases = databases_of_this_thread()
        try:
            try:
                self._arm(timeout)
                result = function()
            finally:
                self._disarm()
        except BaseException as error:
            self._disarm()
            if self._reason is None or not self._struck:
                raise
            # A broken connection, say, is only how the handler saw its interruption.
            raise self._reason from (None if isinstance(error, Interrupted) else error)
        if self._struck and self._reason:
            raise self._reason  # an answer that was cut off may look like a whole one
        return result

    def interrupt(self, reason: Interrupted) -> None:
        """Stop the function now and, should it swallow that, every second."""
        with self._lock:
            if self._thread is None or (self._reason and time.monotonic() < self._ring_at):
                return
            self._reason = self._reason or reason
            self._ring_at = time.monotonic() + AGAIN
        # Before the exception: while that waits for a thread in C code, CPython 3.11 does not let another one that is
        # traced (by coverage, by a debugger) call anything.
        self._wake_up()
        with self._lock:
            if self._thread is not None:
                self._struck = end_waits(self._databases) or self._struck
                self._strike(self._thread, self._reason)

    @contextmanager
    def on_interruption(self, wake: Wake) -> Iterator[None]:
        """In the body, an interruption also calls this, from another thread."""
        self._wakes.append(wake)
        try:
            yield
        finally:
            self._wakes.remove(wake)

    def ring(self) -> None:
        """Interrupt the function if it is due to be: for its time-out, or once more."""
        if self._thread is not None and time.monotonic() >= self._ring_at:
            self.interrupt(TimedOut("the attempt took longer than its timeout"))

    @property
    def interrupting(self) -> bool:
        """Whether the function was told to stop and has not yet."""
        return self._thread is not None and self._reason is not None

    @abstractmethod
    def _strike(self, thread: int, reason: Interrupted) -> None:
        """Raise it in the function, unless that is in code which must not be struck: then _ring_at is soon."""

    def _arm(self, timeout: float) -> None:
        self._reason, self._struck = None, False
        self._ring_at = time.monotonic() + timeout
        self._thread = threading.get_ident()

    def _disarm(self) -> None:
        with self._lock:
            self._thread = None

    def _wake_up(self) -> None:
        for wake in self._wakes.copy():
            self._struck = True
            try:
                wake()
            except Exception:  # it comes from a handler, and we are in a thread of the engine
                log.exception("waking_failed")

    def _try_again_soon(self) -> None:
        self._ring_at = time.monotonic() + AGAIN_SOON


class MainThread(Interruptible):
    """The main thread, which is interrupted by SIGALRM. One per process."""

    def __init__(self) -> None:
        super().__init__()
        self._stopped: Stopped | None = None

    def stop(self) -> None:
        """Stop the function, and every one that would come after it."""
        self._stopped = Stopped("its worker has to stop")
        self.interrupt(self._stopped)

    def _arm(self, timeout: float) -> None:
        signal.signal(signal.SIGALRM, self._on_alarm)  # each time: plain django-q tasks put it back to the default
        super()._arm(timeout)
        if self._stopped:
            self._reason, self._struck = self._stopped, True
            raise self._stopped

    def _strike(self, thread: int, reason: Interrupted) -> None:
        signal.pthread_kill(thread, signal.SIGALRM)

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        if self._thread is None or self._reason is None:
            return
        if not _in_handler(frame):
            self._try_again_soon()
            return
        self._struck = True
        raise self._reason


class OtherThread(Interruptible):
    """A thread that is not the main one."""

    def _strike(self, thread: int, reason: Interrupted) -> None:
        # The thread stays where it is from the look at its frame to the exception: we lose the GIL only after it has
        # waited for a switch interval (5 ms). Were it struck in a driver all the same, its connection is dropped.
        if not _in_handler(sys._current_frames().get(thread)):
            self._try_again_soon()
            return
        self._struck = True
        _raise_in(thread, type(reason))

    def _disarm(self) -> None:
        """No interruption comes after this: one that is on its way is met here, where Python looks for it."""
        while True:
            try:
                super()._disarm()
                for _ in range(100):
                    pass
            except Interrupted:
                continue
            return


def _in_handler(frame: FrameType | None) -> bool:
    """True if this is the innermost frame of a handler that may be struck where it is."""
    innermost = frame
    while frame is not None:
        if frame.f_code is Interruptible.call.__code__:
            return frame is not innermost
        if frame.f_code.co_filename.startswith(_NEVER_STRUCK):
            return False
        frame = frame.f_back
    return False


def _source(module: str) -> str:
    """The file of a module, or the folder of a package."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(module)
    return spec.origin.removesuffix("__init__.py")


_WORKER = Path(__file__).parent
_RUNS_HANDLERS = {"django_q_tasks.py", "replica_reads.py"}
"""Their frames stand between a handler and what interrupts it, so they must not protect it."""
_NEVER_STRUCK = (
    # An exception in here could leave a connection, a lock or a route in a state that its next user does not expect.
    *map(_source, ["django.db.backends", "django.db.transaction", "django.db.utils", "psycopg2", "routers"]),
    *map(_source, ["logging", "structlog"]),
    "<frozen importlib",
    *[str(_WORKER.parent / name) for name in ["brokers/", "models/prepared.py", "models/sql.py"]],
    *[str(path) for path in _WORKER.glob("*.py") if path.name not in _RUNS_HANDLERS],
)
"""How the names of the files begin whose code is never struck, nor what it calls."""


def _raise_in(thread: int, error: type[Interrupted]) -> None:
    """Have the thread raise it at its next bytecode (CPython, PyThreadState_SetAsyncExc)."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
