"""How a running handler is stopped from outside: an exception raised in its thread, in the main one by a signal."""

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Protocol, TypeVar

import structlog

log = structlog.get_logger(__name__)

Result = TypeVar("Result")
Wake = Callable[[], object]
"""Brings whatever a thread waits for in C code to an end."""

AGAIN = 1.0
"""Seconds after which a handler that swallowed its interruption is interrupted again."""


class Interrupted(BaseException):
    """Why a handler was stopped. Not an Exception, so that a handler's own `except Exception` does not swallow it."""


class TimedOut(Interrupted):
    """The attempt took longer than the job's timeout."""


class Cancelled(Interrupted):
    """Somebody asked for the job to be cancelled."""


class Abandoned(Interrupted):
    """The attempt lost its lease: another may be running already."""


class Stopped(Interrupted):
    """The worker has to stop, and the job is handed back."""


class Interruptible(Protocol):
    """Whatever calls a handler and can be told, from another thread, to stop it."""

    def call(self, function: Callable[[], Result], timeout: float) -> Result:
        """Call it, for at most timeout seconds; raises Interrupted when somebody stops it before its end."""

    def interrupt(self, reason: Interrupted) -> None:
        """Stop the function now and, should it swallow that, every second."""

    def on_interruption(self, wake: Wake) -> AbstractContextManager[None]:
        """In the body, an interruption that does not reach C code by itself also calls this, from another thread."""


class MainThread:
    """The main thread while it runs a handler. One per process: it owns SIGALRM."""

    def __init__(self) -> None:
        self._armed = False
        self._reason: Interrupted | None = None
        self._stopped: Stopped | None = None
        self._quiet_until = 0.0

    def call(self, function: Callable[[], Result], timeout: float) -> Result:
        # Twice finally: an interruption that comes at the very end is raised in the inner one, and none comes so soon
        # after it that it could be raised in the outer one.
        try:
            try:
                self._arm(timeout)
                return function()
            finally:
                self._armed = False
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _arm(self, timeout: float) -> None:
        self._reason = None
        self._quiet_until = 0.0
        signal.signal(signal.SIGALRM, self._on_alarm)  # each time: plain django-q tasks put it back to the default
        signal.setitimer(signal.ITIMER_REAL, timeout, AGAIN)
        self._armed = True
        if self._stopped:
            raise self._stopped

    def interrupt(self, reason: Interrupted) -> None:
        self._reason = self._reason or reason
        if self._armed:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def on_interruption(self, wake: Wake) -> AbstractContextManager[None]:
        """A signal reaches whatever waits in C code by itself."""
        return nullcontext()

    def stop(self) -> None:
        """Stop the function, and every one that would come after it."""
        self._stopped = Stopped("its worker has to stop")
        self.interrupt(self._stopped)

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._armed or now < self._quiet_until or (frame and frame.f_code is MainThread.call.__code__):
            return  # the timer rings again in a second
        self._quiet_until = now + AGAIN / 2
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        raise self._reason or TimedOut("the attempt took longer than its timeout")


class OtherThread:
    """A thread that is not the main one while it runs a handler. It has no timer: somebody has to call ring()."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._reason: Interrupted | None = None
        self._ring_at = 0.0
        self._wakes: list[Wake] = []
        self._woken = False

    def call(self, function: Callable[[], Result], timeout: float) -> Result:
        self._ring_at = time.monotonic() + timeout
        try:
            try:
                self._thread = threading.get_ident()
                result = function()
            finally:
                self._disarm()
        except BaseException as error:
            self._disarm()
            if self._reason is None:
                raise
            # What a handler makes of its waking, a broken connection perhaps, is nothing but its interruption.
            raise self._reason from (None if isinstance(error, Interrupted) else error)
        if self._woken and self._reason:
            raise self._reason  # so is a result: an answer that was cut off may look like a whole one
        return result

    def interrupt(self, reason: Interrupted) -> None:
        with self._lock:
            again = self._reason is not None
            if self._thread is None or (again and time.monotonic() < self._ring_at):
                return
            self._reason = self._reason or reason
            self._ring_at = time.monotonic() + AGAIN
        # Before the exception: while that waits for a thread in C code, CPython 3.11 does not let another one that is
        # traced (by coverage, by a debugger) call anything.
        for wake in self._wakes.copy():
            self._woken = True
            _wake_up(wake)
        with self._lock:
            if self._thread is not None:
                _raise_in(self._thread, type(self._reason))

    @contextmanager
    def on_interruption(self, wake: Wake) -> Iterator[None]:
        self._wakes.append(wake)
        try:
            yield
        finally:
            self._wakes.remove(wake)

    def ring(self) -> bool:
        """Interrupt the function if it is due to be, for its time-out or once more; says whether it was."""
        due = self._thread is not None and time.monotonic() >= self._ring_at
        if due:
            self.interrupt(TimedOut("the attempt took longer than its timeout"))
        return due

    def _disarm(self) -> None:
        """No interruption comes after this: one that is on its way is met here, where Python looks for it."""
        while True:
            try:
                with self._lock:
                    self._thread = None
                for _ in range(100):
                    pass
            except Interrupted:
                continue
            return


def _wake_up(wake: Wake) -> None:
    try:
        wake()
    except Exception:  # it comes from a handler, and we are in a thread of the engine
        log.exception("waking_failed")


def _raise_in(thread: int, error: type[Interrupted]) -> None:
    """Have the thread raise it at its next bytecode (CPython, PyThreadState_SetAsyncExc)."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
