"""Detects a process in which no Python code runs any more, and which of its threads may be the cause."""

import os
from dataclasses import dataclass
from time import sleep

STALLED_AFTER = 10.0
"""Seconds without a beat after which a process is killed: a third of a lease, so its other jobs keep their attempt."""
SUSPECT_AFTER = 1.0
"""Seconds without a beat after which an overdue job may be overdue because of another thread."""
MAX_STEP = 1.0
"""The most seconds that one observation adds: a time in which the supervisor itself was stopped must not count."""
SAMPLE_SECONDS = 0.3
"""Seconds between the two samples that tell threads apart."""
GIL_WAIT_SWITCHES = 10
"""A thread with this many context switches between the samples is waiting for the GIL: it wakes every 5 ms."""
COMPUTE_TICKS = 3
"""A thread that used this many clock ticks of 10 ms between the samples is computing: one that waits uses none."""


class StallClock:
    """For how many seconds the supervisor has seen the same last beat of one process."""

    def __init__(self) -> None:
        self._beat = 0.0
        self._observed_at = 0.0
        self.seconds = 0.0

    def observe(self, beat: float, now: float) -> None:
        """beat: time.monotonic() of the last one; 0 before the first one, inf after the last."""
        if beat != self._beat or beat in (0.0, float("inf")):
            self._beat, self.seconds = beat, 0.0
        else:
            self.seconds += min(now - self._observed_at, MAX_STEP)
        self._observed_at = now


@dataclass(frozen=True)
class _Sample:
    switches: int
    ticks: int


def is_suspended(process: int) -> bool:
    """True if the whole process was stopped (SIGSTOP, a debugger): none of its threads is to blame."""
    try:
        return _stat_fields(f"/proc/{process}")[0] in {"T", "t"}
    except OSError:  # no /proc, or the process has just ended
        return False


def may_hold_gil(process: int) -> set[int]:
    """The native ids of the threads of a stalled process that may hold the GIL: those that are not waiting for it.

    The thread that holds it either computes or sleeps in one system call. If any thread computes, only such threads are
    returned; otherwise all that sleep, innocent ones included. Source: proc(5). Empty on systems without /proc.
    """
    before = _samples(process)
    sleep(SAMPLE_SECONDS)
    after = _samples(process)
    not_waiting, computing = set(), set()
    for thread in before.keys() & after.keys():
        if after[thread].switches - before[thread].switches < GIL_WAIT_SWITCHES:
            not_waiting.add(thread)
            if after[thread].ticks - before[thread].ticks >= COMPUTE_TICKS:
                computing.add(thread)
    return computing or not_waiting


def _samples(process: int) -> dict[int, _Sample]:
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{process}/task")]
        return {thread: _sample(f"/proc/{process}/task/{thread}") for thread in threads}
    except OSError:  # no /proc, or the process or one of its threads has just ended
        return {}


def _sample(folder: str) -> _Sample:
    fields = _stat_fields(folder)
    with open(f"{folder}/status") as status:
        switches = next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))
    return _Sample(switches, int(fields[11]) + int(fields[12]))


def _stat_fields(folder: str) -> list[str]:
    """The fields of stat from the third, the state, on."""
    with open(f"{folder}/stat") as stat:
        return stat.read().rpartition(")")[2].split()
