"""A process in which no Python code runs any more: since when, and which of its threads is to blame."""

import os
from dataclasses import dataclass
from time import sleep

STALLED_AFTER = 10.0
"""Seconds without a beat after which a process is replaced: a third of a lease, so that its other jobs are kept."""
SUSPECT_AFTER = 1.0
"""Seconds without a beat after which an overdue job may be overdue because of another one."""
LONGEST_LOOK = 1.0
"""Seconds between two looks that count at most: a supervisor that stood still itself blames nobody for it."""
SAMPLE = 0.3
"""Seconds between the two samples that tell threads apart."""
WAITS_OFTEN = 10
"""Context switches in SAMPLE: a thread that waits for the GIL asks for it every 5 ms (sys.getswitchinterval())."""
COMPUTES = 3
"""Clock ticks of 10 ms in SAMPLE: a thread that waits uses none."""


class StallClock:
    """How long the supervisor has seen the same last beat of one process."""

    def __init__(self) -> None:
        self._beat = 0.0
        self._looked_at = 0.0
        self.seconds = 0.0

    def look(self, beat: float, now: float) -> None:
        """beat: time.monotonic() of the last one; 0 before the first one, inf after the last."""
        if beat != self._beat or beat in (0.0, float("inf")):
            self._beat, self.seconds = beat, 0.0
        else:
            self.seconds += min(now - self._looked_at, LONGEST_LOOK)
        self._looked_at = now


@dataclass(frozen=True)
class _Sample:
    switches: int
    ticks: int


def is_suspended(process: int) -> bool:
    """True if somebody has stopped the whole process (SIGSTOP, a debugger): no thread of its own is to blame."""
    try:
        return _stat_fields(f"/proc/{process}")[0] in {"T", "t"}
    except OSError:  # no /proc, or the process has just ended
        return False


def may_hold_gil(process: int) -> set[int]:
    """The native ids of the threads that may hold the GIL of a stalled process: those that do not wait for it.

    A thread that holds it either computes or sleeps in one system call. Where one computes, only such threads are
    returned; otherwise also innocent ones that sleep in a system call of their own. Source: proc(5). Empty on systems
    without /proc.
    """
    before = _samples(process)
    sleep(SAMPLE)
    after = _samples(process)
    silent = {thread for thread in before.keys() & after.keys() if _switches(before, after, thread) < WAITS_OFTEN}
    computing = {thread for thread in silent if after[thread].ticks - before[thread].ticks >= COMPUTES}
    return computing or silent


def _switches(before: dict[int, _Sample], after: dict[int, _Sample], thread: int) -> int:
    return after[thread].switches - before[thread].switches


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
    """From the third, the state, on."""
    with open(f"{folder}/stat") as stat:
        return stat.read().rpartition(")")[2].split()
