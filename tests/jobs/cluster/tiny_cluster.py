"""A real cluster of tiny programs, which tests start with `with TinyCluster(…)` and then signal, starve and kill.

Run as `python -m tests.jobs.cluster.tiny_cluster GRACE KILL_AFTER MIN_RESTART_INTERVAL PROGRAM…` it is the
supervisor. It and its children print a line on standard output for each thing that happens to them; the output ends
when the last of them is gone.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event as ThreadEvent
from threading import Thread
from types import FrameType, TracebackType
from typing import NamedTuple, NoReturn, Self
from uuid import UUID

import structlog

from demo.eventually import eventually
from demo.stack import ROOT
from jobs.cluster import process, supervisor
from jobs.cluster.process import Process
from jobs.worker.watchdog import JobIds

WITHIN = 60
DONE_IN_TIME = 0.5
"""Seconds: much longer than between two lines of a program, on any machine."""
JOB, INNOCENT = UUID(int=1), UUID(int=2)
LONG = 600.0
"""Seconds that no test waits for: let_pass_long() moves the supervisor's clock forward by them."""


class Event(NamedTuple):
    """A line that a process has printed. at: its monotonic clock."""

    role: str
    pid: int
    at: float
    what: str


class TinyCluster:
    def __init__(
        self, *programs: str, grace: float = LONG, kill_after: float = LONG, min_restart_interval: float = 0.05
    ) -> None:
        self.events: list[Event] = []
        settings = [str(number) for number in (grace, kill_after, min_restart_interval)]
        self._command = [sys.executable, "-m", "tests.jobs.cluster.tiny_cluster", *settings, *programs]
        self._programs = programs

    def __enter__(self) -> Self:
        self.supervisor = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0)
        self._reader = Thread(target=self._read)
        self._reader.start()
        for role in set(self._programs):
            self.wait_for(role, "started")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.supervisor.pid, signal.SIGKILL)
        self.supervisor.wait()
        self._reader.join()
        assert self.supervisor.stdout
        self.supervisor.stdout.close()

    def _read(self) -> None:
        assert self.supervisor.stdout
        for line in self.supervisor.stdout:
            role, pid, at, what = line.rstrip("\n").split(" ", 3)
            self.events.append(Event(role, int(pid), float(at), what))

    def told(self, role: str, what: str = "") -> list[Event]:
        return [event for event in self.events if event.role == role and event.what.startswith(what)]

    def wait_for(self, role: str, what: str, times: int = 1) -> Event:
        """Wait until this role has told this so many times; returns the last of these events."""
        eventually(lambda: len(self.told(role, what)) >= times, WITHIN, f"{role}: {what} ({self.events})")
        return self.told(role, what)[times - 1]

    def signal(self, number: signal.Signals) -> None:
        self.supervisor.send_signal(number)

    def let_pass_long(self) -> None:
        """Move the supervisor's clock, and nobody else's, by LONG."""
        self.signal(signal.SIGUSR2)

    def wait_until_gone(self, role: str) -> None:
        """Wait until the newest process of this role is gone."""
        pid = self.told(role, "started")[-1].pid
        eventually(lambda: not Path(f"/proc/{pid}").exists(), WITHIN, f"the end of {role} ({self.events})")

    def wait_until_all_are_gone(self) -> None:
        """Wait until neither the supervisor nor any child, however it was started, holds standard output."""
        eventually(lambda: not self._reader.is_alive(), WITHIN, "the end of all processes")


class SupervisorsClock:
    """What the supervisor takes for the module time."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def move(self, number: int, frame: FrameType | None) -> None:
        self.ahead += LONG


class Polite:
    """Ends when it is asked to."""

    ignores: tuple[signal.Signals, ...] = ()
    takes_over = True

    def __init__(self, child: Process) -> None:
        self.child = child
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self.hear)
        before = self.replaces = child.predecessor
        if self.takes_over:
            child.forget_predecessor()
        tell(child.role, f"started {child.name} after {before.name if before else 'nobody'}")
        if before:
            tell(child.role, f"took over timed_out={numbers(before.timed_out)} lost={numbers(before.lost)}")

    def run(self) -> None:
        while True:
            signal.pause()

    def hear(self, number: int, frame: FrameType | None) -> None:
        tell(self.child.role, signal.Signals(number).name)
        if number not in self.ignores:
            sys.exit()


class Busy(Polite):
    """Goes on after SIGTERM, as a worker does with a long job, until it is interrupted."""

    ignores = (signal.SIGTERM,)


class Deaf(Polite):
    """Ignores every request to stop."""

    ignores = (signal.SIGTERM, signal.SIGUSR1)


class NeverReady(Polite):
    """Does not come so far that it takes over its predecessor's jobs."""

    takes_over = False


class Stuck(Polite):
    """Exceeds a deadline; its replacement does not."""

    def run(self) -> None:
        if not self.replaces:
            self.child.watchdog.start(0, JOB, 2 * DONE_IN_TIME)
        super().run()


class Stalled(Polite):
    """Runs no Python code any more, with a job in its main thread; its replacement does."""

    def run(self) -> None:
        if not self.replaces:
            self.child.watchdog.start(0, JOB, LONG)
            self.child.watchdog.beat()
            ctypes.PyDLL(None).sleep(int(LONG))
        super().run()


class StalledByAThread(Polite):
    """One of its threads holds the GIL for good; another has a job that only waits for it."""

    def run(self) -> None:
        if not self.replaces:
            ready = ThreadEvent()
            Thread(target=self.wait_for_gil, args=[ready], daemon=True).start()
            ready.wait()
            Thread(target=self.hold_gil, daemon=True).start()
        super().run()

    def wait_for_gil(self, ready: ThreadEvent) -> None:
        self.child.watchdog.start(1, INNOCENT, LONG)
        ready.set()
        while True:
            pass

    def hold_gil(self) -> None:
        self.child.watchdog.start(0, JOB, LONG)
        self.child.watchdog.beat()
        re.match("(a+)+b", "a" * 64)


class StuckAtTheEnd(Deaf):
    """Sets a deadline when it is asked to stop, and exceeds it."""

    def hear(self, number: int, frame: FrameType | None) -> None:
        super().hear(number, frame)
        self.child.watchdog.start(0, JOB, 0.1)


class DoneInTime(Polite):
    """Has had a deadline, and kept it."""

    def run(self) -> None:
        self.child.watchdog.start(0, JOB, DONE_IN_TIME)
        self.child.watchdog.finish(0)
        super().run()


class Killed(Polite):
    """Dies by itself while it has a job; its replacement lives on."""

    def run(self) -> None:
        if not self.replaces:
            self.child.watchdog.start(0, JOB, LONG)
            os.kill(os.getpid(), signal.SIGKILL)
        super().run()


class ShortLived(Polite):
    """Ends by itself at once."""

    def run(self) -> None:
        return


class Broken(Polite):
    """Cannot even begin."""

    def __init__(self, child: Process) -> NoReturn:
        tell(child.role, "started")
        raise RuntimeError("a bad setting")


class SlowStarter(Polite):
    """Installs its signal handlers only after it was asked to stop."""

    def __init__(self, child: Process) -> None:
        tell(child.role, "started")
        eventually(lambda: signal.SIGTERM in signal.sigpending(), WITHIN, "the signal")
        super().__init__(child)


PROGRAMS = {
    "polite": Polite,
    "busy": Busy,
    "deaf": Deaf,
    "never_ready": NeverReady,
    "stuck": Stuck,
    "stalled": Stalled,
    "stalled_by_a_thread": StalledByAThread,
    "stuck_at_the_end": StuckAtTheEnd,
    "done_in_time": DoneInTime,
    "killed": Killed,
    "short_lived": ShortLived,
    "broken": Broken,
    "slow_starter": SlowStarter,
}


def numbers(jobs: JobIds) -> list[int]:
    return sorted(job.int for job in jobs)


def tell(role: str, what: str) -> None:
    """One write, so that the lines of several processes do not mix."""
    os.write(1, f"{role} {os.getpid()} {time.monotonic()} {what}\n".encode())


def main(grace: str, kill_after: str, min_restart_interval: str, *programs: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    supervisor.CHECK_EVERY = 0.05
    process.STALLED_AFTER = 2.0
    clock = SupervisorsClock()
    vars(supervisor)["time"] = clock
    signal.signal(signal.SIGUSR2, clock.move)
    supervisor.KILL_AFTER, supervisor.MIN_RESTART_INTERVAL = float(kill_after), float(min_restart_interval)
    supervisor.Supervisor([Process(name, PROGRAMS[name], slots=2) for name in programs], float(grace)).run()
    tell("supervisor", "stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
