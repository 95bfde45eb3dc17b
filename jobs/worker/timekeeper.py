"""The thread that keeps the time of running handlers, and shows the supervisor that Python code still runs.

It never touches database or network, so that nothing can delay it but a thread that does not give up the GIL.
"""

import os
import select
import signal
import threading
from collections.abc import Callable

from jobs.worker.interrupt import AGAIN_SOON
from jobs.worker.running import Running
from jobs.worker.watchdog import Watchdog

LOOK = 0.2
"""Seconds between two looks at the clock."""


class Timekeeper(threading.Thread):
    """on_stop: called when SIGUSR1 arrives, also while the main thread is in C code, where no signal handler runs."""

    def __init__(self, running: Running, watchdog: Watchdog, on_stop: Callable[[], None]) -> None:
        super().__init__(name="timekeeper", daemon=True)
        self._running = running
        self._watchdog = watchdog
        self._on_stop = on_stop
        self._signals, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._over = False

    def start(self) -> None:
        """To be called in the main thread."""
        self._old_wakeup = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        super().start()

    def stop(self) -> None:
        """To be called in the main thread. Ends the thread after its present look."""
        signal.set_wakeup_fd(self._old_wakeup)
        self._over = True

    def run(self) -> None:
        try:
            while not self._over:
                self._watchdog.beat()
                for thread in self._running.threads():
                    thread.ring()
                self._wait()
            self._watchdog.stop_beating()  # here, so that no beat comes after it
        finally:
            os.close(self._signals)
            os.close(self._wakeup)

    def _wait(self) -> None:
        """For a signal, until the next look."""
        soon = any(thread.interrupting for thread in self._running.threads())
        ready, _, _ = select.select([self._signals], [], [], AGAIN_SOON if soon else LOOK)
        if ready and signal.SIGUSR1 in os.read(self._signals, 1024):
            self._on_stop()
