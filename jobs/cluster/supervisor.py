"""The qcluster process: it forks the workers and the dispatcher, watches over them, and stops them.

It touches neither database nor broker and shares no lock with its children, so that nothing can make it hang.
"""

import signal
import time
from collections.abc import Sequence
from multiprocessing import connection
from types import FrameType

import structlog

from jobs.cluster.process import Process

log = structlog.get_logger(__name__)

LOOK_EVERY = 0.25
"""Seconds between two looks at what may be stuck or due; the death of a child is seen at once."""
HARD_STOP = 5.0
"""Seconds from the interruption of what still runs to the killing of what ignores it."""
SOONEST_RESTART = 1.0
"""Seconds between two starts in one place, so that a program which dies at its start does not spin."""


class Supervisor:
    """grace: seconds that running jobs have to finish after SIGTERM."""

    def __init__(self, children: Sequence[Process], grace: float) -> None:
        self.children = children
        self.grace = grace
        self.stop_asked_at: float | None = None

    def run(self) -> None:
        """Keep every child alive until SIGTERM or SIGINT, then stop them all."""
        self._begin()
        while self.stop_asked_at is None:
            self._kill_the_stuck()
            self._replace_the_dead()
            self._wait()
        self._stop()
        log.info("cluster_stopped")

    def run_once(self) -> None:
        """Until every child has ended by itself, or SIGTERM or SIGINT; what dies is replaced."""
        self._begin()
        while self.stop_asked_at is None and not all(child.exitcode == 0 for child in self.children):
            self._kill_the_stuck()
            self._replace_the_dead(but_not_those_that_ended=True)
            self._wait()
        self._stop()
        log.info("cluster_stopped")

    def _begin(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        for child in self.children:
            self._start(child)
        log.info("cluster_started", children=[child.name for child in self.children])

    def _kill_the_stuck(self) -> None:
        for child in self.children:
            if reason := child.kill_if_stuck():
                log.error("child_stuck_and_killed", child=child.name, role=child.role, reason=reason)

    def _replace_the_dead(self, *, but_not_those_that_ended: bool = False) -> None:
        for child in self.children:
            if child.exitcode == 0 and but_not_those_that_ended:
                continue
            if not child.alive and time.monotonic() - child.started_at >= SOONEST_RESTART:
                if child.exitcode == 0:
                    log.info("child_recycled", child=child.name, role=child.role)
                else:
                    log.error("child_died", child=child.name, role=child.role, exitcode=child.exitcode)
                self._start(child)

    def _start(self, child: Process) -> None:
        child.start()
        log.info("child_started", child=child.name, role=child.role)

    def _wait(self) -> None:
        """Until a child dies or it is time for another look."""
        sentinels = [child.sentinel for child in self.children if child.sentinel is not None]
        if connection.wait(sentinels, timeout=LOOK_EVERY) == []:
            return
        time.sleep(0.01)

    def _stop(self) -> None:
        """Stop claiming; after the grace interrupt what still runs; soon after kill what ignores that."""
        log.info("cluster_stopping", grace=self.grace)
        self._signal_until_gone(signal.SIGTERM, self.grace)
        self._signal_until_gone(signal.SIGUSR1, HARD_STOP)
        self._signal_until_gone(signal.SIGKILL, HARD_STOP)

    def _signal_until_gone(self, number: signal.Signals, within: float) -> None:
        """Signal the children that are left, and wait for them to end."""
        until = time.monotonic() + within
        for child in self.children:
            child.signal(number)
        while any(child.alive for child in self.children) and time.monotonic() < until:
            self._kill_the_stuck()
            self._wait()

    def _ask_to_stop(self, signum: int, frame: FrameType | None) -> None:
        self.stop_asked_at = time.monotonic()
