"""Several clusters on one database, which tests kill piece by piece, and what their logs say about it."""

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from demo.eventually import eventually
from demo.processes import Process
from demo.stack import MANAGE, ROOT
from jobs.cluster.process import WORKER_ROLES
from tests.conftest import DATABASES, make_database
from tests.support.stack import Stack

Event = dict[str, Any]

NO_ENV: Mapping[str, str] = {}

PATIENCE = 60
"""Seconds: what has not happened by then never will, however busy the machine."""
PAUSE = 0.05
"""Seconds between two looks at processes and logs, which cost more than reading a variable."""


class Cluster(Process):
    """One qcluster: its process is the supervisor, which has forked the others."""

    def events(self, name: str, **fields: object) -> list[Event]:
        """Its log lines of this event and with these fields, oldest first."""
        wanted = {"event": name, **fields}
        return [event for event in _lines(self.log, about=name) if wanted.items() <= event.items()]

    def children(self, role: str) -> list[int]:
        """The process ids of its living children of this role, oldest first."""
        started = [int(event["child"].rpartition(":")[2]) for event in self.events("child_started", role=role)]
        alive = set(self.members())
        return [child for child in started if child in alive]

    def send(self, sign: signal.Signals) -> None:
        """To the supervisor alone."""
        os.kill(self.pid, sign)

    @property
    def returncode(self) -> int | None:
        return self._started.poll()

    def members(self) -> list[int]:
        """The process ids of everything that is left of it."""
        return [process for process, group, state in _processes() if group == self.pid and state != "Z"]

    def wait_until_up(self, workers: int = 1, within: float = PATIENCE) -> None:
        """Wait until it has this many workers and a dispatcher; signals that come too early for them are kept."""
        eventually(
            lambda: len(self.ready_workers()) >= workers and self.children("dispatcher"),
            within,
            f"{self.name}'s workers' start",
            pause=PAUSE,
        )

    def workers(self) -> list[int]:
        """The process ids of its living workers of all sorts, each sort oldest first."""
        return [worker for role in WORKER_ROLES for worker in self.children(role)]

    def ready_workers(self) -> list[int]:
        """The process ids of its workers that run jobs at any time: all but the reserve worker."""
        ready = {int(event["worker"].rpartition(":")[2]) for event in self.events("worker_started")}
        return [worker for role in ("worker", "io-worker") for worker in self.children(role) if worker in ready]

    def wait_until_gone(self, within: float = PATIENCE) -> None:
        """Until nothing is left of it, also when its supervisor was killed alone."""
        eventually(
            lambda: not self.running() and not self.members(), within, f"the end of all of {self.name}", pause=PAUSE
        )


class ClusterStack(Stack):
    """A stack with the misbehaving kinds. Clusters may be added to those that it starts with."""

    def __init__(
        self,
        database_url: str,
        folder: Path,
        *,
        clusters: int = 1,
        workers: int = 2,
        io_workers: int = 0,
        grace: int = 2,
        env: Mapping[str, str] | None = None,
    ) -> None:
        settings = {"DJANGO_SETTINGS_MODULE": "tests.support.misbehaving_kinds.settings", "WORKER_GRACE": str(grace)}
        super().__init__(database_url, folder, env={**settings, "RATE_LIMIT_PER_MINUTE": "60000", **(env or {})})
        self.workers, self.io_workers = workers, io_workers
        self.on_sqlite = database_url.startswith("sqlite")
        self.clusters: list[Cluster] = []
        for _ in range(clusters):
            self.add_cluster(workers, io_workers=io_workers)

    def start(self, within: float = 180) -> None:
        super().start(within)
        for cluster in self.clusters:
            cluster.wait_until_up(self.workers + self.io_workers, within)

    def add_cluster(
        self,
        workers: int = 1,
        *,
        io_workers: int = 0,
        grace: int | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] = NO_ENV,
    ) -> Cluster:
        """One more, which is not started yet; it may have a grace, options and variables of its own."""
        name = f"cluster-{len(self.clusters) + 1}"
        command = [*MANAGE, "qcluster", "--workers", str(workers), "--io-workers", str(io_workers), *options]
        env = {**self.env, **({} if grace is None else {"WORKER_GRACE": str(grace)}), **env}
        cluster = Cluster(name, command, log=self.logs / f"{name}.log", env=env, cwd=ROOT)
        self.clusters.append(cluster)
        return cluster

    def start_cluster(self, workers: int = 1, *, io_workers: int = 0, **options: Any) -> Cluster:
        cluster = self.add_cluster(workers, io_workers=io_workers, **options)
        cluster.start()
        cluster.wait_until_up(workers + io_workers)
        return cluster

    def check(self) -> None:
        """Only the web process has to be running: clusters are killed on purpose."""
        self.web.check()

    def post(self, kind: str, params: Mapping[str, object] | None = None, **options: object) -> Event:
        """A job as the API answers it."""
        body = {"kind": kind, "params": dict(params or {}), **options}
        posted: Event = self.client().post("jobs/", body, expect=202).json()
        return posted

    def cancel(self, job: Event) -> None:
        assert self.client().post(f"jobs/{job['id']}/cancellation/").ok

    def wait(self, job: Event, status: str, within: float = PATIENCE) -> Event:
        return self.client().wait_for(job["id"], status, within)

    def events(self, name: str, **fields: object) -> list[Event]:
        return [event for cluster in self.clusters for event in cluster.events(name, **fields)]

    def worker_of(self, job: Event, attempt: int = 1) -> int:
        """The process id of the worker that has begun this attempt."""
        begun = eventually(
            lambda: self.events("job_started", job_id=job["id"], attempt=attempt),
            PATIENCE,
            f"attempt {attempt} at {job}",
            pause=PAUSE,
        )
        return int(begun[-1]["worker"].rpartition(":")[2])


class Gate:
    """A file that jobs of some kinds wait for: a test opens the gate when they are to end."""

    def __init__(self, stack: ClusterStack, kind: str = "trouble.hold") -> None:
        self.stack, self.kind = stack, kind
        self._file = stack.logs / f"gate-{uuid4()}"

    def hold(self, **options: object) -> Event:
        """Post a job that waits for this gate; returns once it has started."""
        job = self.post(**options)
        self.stack.worker_of(job)
        return job

    def post(self, **options: object) -> Event:
        """Post a job that waits for this gate."""
        return self.stack.post(self.kind, {"gate": str(self._file)}, **options)

    def open(self) -> None:
        self._file.touch()


def on_both(group: str) -> list[Any]:
    """Parameters of a fixture that makes a stack on each database; the tests on one stack stay in one process."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(f"{group}_{name}")) for name in DATABASES]


def make_cluster_stack(database: str, folder: Path, **options: Any) -> ClusterStack:
    """A stack on a new database of this kind; `with` starts it."""
    on_sqlite = database == "sqlite"
    return ClusterStack(
        f"sqlite:///{folder}/legwork.sqlite3" if on_sqlite else make_database(folder.name), folder, **options
    )


def now() -> str:
    return datetime.now(UTC).isoformat()


def kill(process: int) -> None:
    """Send SIGKILL, and wait until the process has ended."""
    tell(process, signal.SIGKILL)
    eventually(lambda: _state(process) in "ZX", PATIENCE, f"the death of {process}")


def suspend(process: int) -> None:
    """Send SIGSTOP, and wait until none of its threads runs: they run on until one of them has taken the signal."""
    tell(process, signal.SIGSTOP)
    threads = [int(name) for name in os.listdir(f"/proc/{process}/task")]
    eventually(lambda: all(_state(thread) in "TZX" for thread in threads), PATIENCE, f"{process} standing still")


def tell(process: int, sign: signal.Signals) -> None:
    os.kill(process, sign)


def seconds_between(earlier: str, later: str) -> float:
    """Of two times as the API and the logs write them."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def _lines(log: Path, about: str) -> Iterator[Event]:
    """The whole lines of JSON in a log; a process that was killed may have left a broken one."""
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        if about not in line:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _processes() -> Iterator[tuple[int, int, str]]:
    """Process id, process group and state of everything that runs here (proc(5), /proc/pid/stat)."""
    for name in os.listdir("/proc"):
        if name.isdecimal() and (stat := _stat(int(name))):
            yield int(name), int(stat[2]), stat[0]


def _state(process: int) -> str:
    """X, for dead, also when nothing is left of it."""
    stat = _stat(process)
    return stat[0] if stat else "X"


def _stat(process: int) -> list[str]:
    """From its state on (proc(5)); nothing when there is no such process."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
