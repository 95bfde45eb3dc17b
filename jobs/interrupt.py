"""How a running handler is stopped from outside: an exception raised in its thread, in the main one by a signal."""

import ctypes
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol, TypeVar

Result = TypeVar("Result")

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


class MainThread:
    """The main thread while it runs a handler. One per process: it owns SIGALRM."""

    def __init__(self) -> None:
        self._armed = False
        self._reason: Interrupted | None = None
        self._stopped: Stopped | None = None

    def call(self, function: Callable[[], Result], timeout: float) -> Result:
        self._reason = None
        self._armed = True
        signal.signal(signal.SIGALRM, self._on_alarm)  # each time: plain django-q tasks put it back to the default
        try:
            if self._stopped:
                raise self._stopped
            signal.setitimer(signal.ITIMER_REAL, timeout, AGAIN)
            return function()
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def interrupt(self, reason: Interrupted) -> None:
        self._reason = self._reason or reason
        if self._armed:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def stop(self) -> None:
        """Stop the function, and every one that would come after it."""
        self._stopped = Stopped("its worker has to stop")
        self.interrupt(self._stopped)

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        # Raised only below call(), so that its finally always runs to the end; the timer rings again in a second.
        if not self._armed or (frame and frame.f_code is MainThread.call.__code__):
            return
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        raise self._reason or TimedOut("the attempt took longer than its timeout")


class OtherThread:
    """A thread that is not the main one while it runs a handler. It has no timer: somebody has to call ring()."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._reason: Interrupted | None = None
        self._ring_at = 0.0

    def call(self, function: Callable[[], Result], timeout: float) -> Result:
        self._ring_at = time.monotonic() + timeout
        self._thread = threading.get_ident()
        try:
            return function()
        except Interrupted as error:
            raise self._reason or error from None
        finally:
            self._disarm()

    def interrupt(self, reason: Interrupted) -> None:
        with self._lock:
            if self._thread is not None:
                self._reason = self._reason or reason
                self._ring_at = time.monotonic() + AGAIN
                _raise_in(self._thread, type(self._reason))

    def ring(self) -> bool:
        """Interrupt the function if it is due to be, for its time-out or once more; says whether it was."""
        due = self._thread is not None and time.monotonic() >= self._ring_at
        if due:
            self.interrupt(TimedOut("the attempt took longer than its timeout"))
        return due

    def _disarm(self) -> None:
        """No interruption comes after this, not even one that is on its way."""
        while True:
            try:
                with self._lock:
                    self._thread = None
                    _raise_in(threading.get_ident(), None)
            except Interrupted:
                continue
            return


def _raise_in(thread: int, error: type[Interrupted] | None) -> None:
    """Have the thread raise it at its next bytecode, or nothing (CPython, PyThreadState_SetAsyncExc)."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error) if error else None)
