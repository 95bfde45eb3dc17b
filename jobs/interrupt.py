"""How a running handler is stopped from outside: an exception raised in the main thread by a signal."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

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


class Interruptible:
    """The main thread while it runs a handler. One per process: it owns SIGALRM."""

    def __init__(self) -> None:
        self._armed = False
        self._reason: Interrupted | None = None
        self._stopped: Stopped | None = None

    def call(self, function: Callable[[], Result], timeout: float) -> Result:
        """Call it, for at most timeout seconds; raises Interrupted when somebody stops it before its end."""
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
        """Stop the function now (from any thread) and, should it swallow that, every second."""
        self._reason = self._reason or reason
        if self._armed:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def stop(self) -> None:
        """Stop the function, and every one that would come after it."""
        self._stopped = Stopped("its worker has to stop")
        self.interrupt(self._stopped)

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        # Raised only below call(), so that its finally always runs to the end; the timer rings again in a second.
        if not self._armed or (frame and frame.f_code is Interruptible.call.__code__):
            return
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        raise self._reason or TimedOut("the attempt took longer than its timeout")
