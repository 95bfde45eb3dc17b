"""The thread that enforces timeouts, and shows the supervisor by its beat that Python code still runs.

It uses neither database nor network, so only a thread that does not release the GIL can delay it.
"""

import os
import select
import signal
import threading
from collections.abc import Callable

from jobs.worker.attempts.interrupt import RETRY_AFTER
from jobs.worker.attempts.running_attempts import RunningAttempts
from jobs.worker.watchdog import Watchdog

CHECK_EVERY = 0.2
"""Seconds between two checks of the timeouts."""


class Timekeeper(threading.Thread):
    """on_stop: called on SIGUSR1, even while the main thread is in C code, where no signal handler would run."""

    def __init__(self, running: RunningAttempts, watchdog: Watchdog, on_stop: Callable[[], None]) -> None:
        super().__init__(name="timekeeper", daemon=True)
        self._running = running
        self._watchdog = watchdog
        self._on_stop = on_stop
        self._signals, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stop_requested = False

    def start(self) -> None:
        """Call it in the main thread."""
        self._old_wakeup = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        super().start()

    def stop(self) -> None:
        """Call it in the main thread. The thread ends after its current check."""
        signal.set_wakeup_fd(self._old_wakeup)
        self._stop_requested = True

    def run(self) -> None:
        try:
            while not self._stop_requested:
                self._watchdog.beat()
                for thread in self._running.threads():
                    thread.interrupt_if_due()
                self._wait()
            self._watchdog.stop_beating()  # in this thread, so that no beat can follow
        finally:
            os.close(self._signals)
            os.close(self._wakeup)

    def _wait(self) -> None:
        """Until a signal arrives or the next check is due."""
        soon = any(thread.interrupting for thread in self._running.threads())
        ready, _, _ = select.select([self._signals], [], [], RETRY_AFTER if soon else CHECK_EVERY)
        if ready and signal.SIGUSR1 in os.read(self._signals, 1024):
            self._on_stop()
