"""The qcluster process: forks the workers and the dispatcher, kills and replaces them when needed, and stops them.

It uses neither database nor broker and shares no lock with its children, so nothing can make it hang.
"""

import signal
import time
from collections.abc import Sequence
from multiprocessing import connection
from types import FrameType

import structlog

from jobs.cluster.process import Process

log = structlog.get_logger(__name__)

CHECK_EVERY = 0.25
"""Seconds between two checks for stuck processes; the death of a child is noticed at once."""
KILL_AFTER = 5.0
"""Seconds from the interruption of the running jobs to the SIGKILL for children that ignore it."""
MIN_RESTART_INTERVAL = 1.0
"""Seconds between two starts of the same child, so that a program that dies at its start does not spin."""


class Supervisor:
    """grace: seconds that running jobs have to finish after SIGTERM."""

    def __init__(self, children: Sequence[Process], grace: float) -> None:
        self.children = children
        self.grace = grace
        self.stop_asked_at: float | None = None

    def run(self, *, once: bool = False) -> None:
        """Replace children that die until SIGTERM or SIGINT, then stop them all. once: or until all have finished."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        for child in self.children:
            self._start(child)
        log.info("cluster_started", children=[child.name for child in self.children])
        while self.stop_asked_at is None and not (once and all(child.exitcode == 0 for child in self.children)):
            self._kill_stuck()
            self._replace_dead(but_not_finished=once)
            self._wait()
        self._stop()
        log.info("cluster_stopped")

    def _start(self, child: Process) -> None:
        child.start()
        log.info("child_started", child=child.name, role=child.role)

    def _kill_stuck(self) -> None:
        for child in self.children:
            if reason := child.kill_if_stuck():
                log.error("child_stuck_and_killed", child=child.name, role=child.role, reason=reason)

    def _replace_dead(self, *, but_not_finished: bool) -> None:
        for child in self.children:
            if child.exitcode == 0 and but_not_finished:
                continue
            if not child.alive and time.monotonic() - child.started_at >= MIN_RESTART_INTERVAL:
                if child.exitcode == 0:
                    log.info("child_recycled", child=child.name, role=child.role)
                else:
                    log.error("child_died", child=child.name, role=child.role, exitcode=child.exitcode)
                self._start(child)

    def _wait(self) -> None:
        """Until a child dies or the next check is due."""
        sentinels = [child.sentinel for child in self.children]  # once each: a child may die between two looks
        if connection.wait([each for each in sentinels if each is not None], timeout=CHECK_EVERY) == []:
            return
        time.sleep(0.01)

    def _stop(self) -> None:
        """Stop claiming; after the grace interrupt running jobs; then kill what ignores that."""
        log.info("cluster_stopping", grace=self.grace)
        self._signal_until_gone(signal.SIGTERM, self.grace)
        self._signal_until_gone(signal.SIGUSR1, KILL_AFTER)
        self._signal_until_gone(signal.SIGKILL, KILL_AFTER)

    def _signal_until_gone(self, number: signal.Signals, within: float) -> None:
        """Signal the children that are left, and wait for them to end."""
        until = time.monotonic() + within
        for child in self.children:
            child.signal(number)
        while any(child.alive for child in self.children) and time.monotonic() < until:
            self._kill_stuck()
            self._wait()

    def _request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.stop_asked_at = time.monotonic()
