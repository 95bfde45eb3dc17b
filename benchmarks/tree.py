"""A process and all its descendants, by /proc: counts their CPU seconds and memory, stops and resumes them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.eventually import TooLateError

TICKS = os.sysconf("SC_CLK_TCK")
QUIET = 0.01
"""CPU seconds that each process of a tree may use in LOOK_EVERY, on average, and the tree still counts as idle."""
LOOK_EVERY = 0.5
MIB = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB. pss: a shared page counts in equal parts for all processes that share it. uss: what its end would free."""

    pss: float
    uss: float


class Tree:
    """The given processes and all their descendants, as they are at each call."""

    def __init__(self, *roots: int) -> None:
        self.roots = roots

    def pids(self) -> list[int]:
        """Parents before their children."""
        children = _children()
        found = list(self.roots)
        for pid in found:
            found.extend(children.get(pid, []))
        return found

    def cpu_seconds(self) -> float:
        """User and system time of the processes, and of ended children that they have waited for."""
        return sum(_cpu_seconds(pid) for pid in self.pids())

    def memory(self) -> Memory:
        parts = [memory_of(pid) for pid in self.pids()]
        return Memory(sum(part.pss for part in parts), sum(part.uss for part in parts))

    def stop(self) -> None:
        """SIGSTOP to each; returns when none of them runs."""
        self._signal(signal.SIGSTOP)
        while any(_state(pid) not in "TZX" for pid in self.pids()):
            time.sleep(0.001)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait_until_idle(self, within: float = 120) -> None:
        """Until it uses next to no CPU: started, and done with what it was given."""
        deadline = time.monotonic() + within
        used = self.cpu_seconds()
        while True:
            time.sleep(LOOK_EVERY)
            before, used = used, self.cpu_seconds()
            if used - before <= QUIET * len(self.pids()):
                return
            if time.monotonic() > deadline:
                raise TooLateError(f"The processes {self.pids()} did not become idle within {within:g} s.")

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def machine_cpu_seconds() -> float:
    """What all processes of the machine have used, and what its host has kept from it (proc(5), /proc/stat)."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for pid in _all_pids():
        if fields := _stat(pid):
            found.setdefault(int(fields[1]), []).append(pid)
    return found


def _all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else "X"


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s /proc/pid/stat from the third, the state, on; none of a process that is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def memory_of(pid: int) -> Memory:
    sizes: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, size, *_ = line.split()
            sizes[name.rstrip(":")] = int(size)
    private = sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)
    return Memory(sizes.get("Pss", 0) / MIB, private / MIB)
