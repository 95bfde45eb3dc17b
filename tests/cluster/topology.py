"""The whole topology on one machine: HAProxy, two web processes, two clusters, PostgreSQL with two replicas, Redis."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import requests

from demo.eventually import eventually
from demo.processes import Process, free_port
from demo.stack import MANAGE, ROOT, Stack
from tests.support.servers.folders import make_folder, server_user
from tests.support.servers.haproxy import program
from tests.support.servers.postgresql import PostgreSQL, start_all
from tests.support.servers.redis import Redis
from tests.support.servers.standby import Standby

Server = TypeVar("Server", bound=PostgreSQL)

FRONT = ROOT / "deploy" / "haproxy" / "front.cfg"
UP_WITHIN = 180.0
DATABASE = {"synchronous_commit": "on", "wal_keep_size": "512MB"}
"""A killed primary loses nothing that was answered, and a replica that was away finds what it missed."""
AWAY_FOR = 3.0
"""Seconds that a part stays away under load."""
RESTART_AFTER = 0.1
"""Seconds until systemd starts a killed HAProxy again: Debian's unit has Restart=always and no RestartSec."""
REPLACED_WITHIN = 30.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part that can be ended and started again. `start` only waits where a supervisor starts it.

    writes, answers: whether the API accepts work, and answers at all, without this part.
    """

    name: str
    end: Callable[[], object]
    start: Callable[[], object]
    away_for: float = AWAY_FOR
    writes: bool = True
    answers: bool = True


class Front:
    """HAProxy with deploy/haproxy/front.cfg before the web processes."""

    def __init__(self, ports: list[int], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # A copy, because the server's user may not look into our folders.
        self._folder = make_folder("front")
        configuration = shutil.copy(FRONT, self._folder)
        env = {"FRONT_BIND": f"127.0.0.1:{self.port}"}
        env |= {f"WEB_{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
        command = [program(), "-W", "-db", "-f", str(configuration)]
        self.process = Process("front", command, log=log, env=env, cwd=self._folder, user=server_user())

    def remove(self) -> None:
        self.process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class Topology:
    """`with Topology(folder) as topology:` has migrated the database, and all parts run. Logs are in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._left_open = ExitStack()
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._left_open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left_open.close()

    @property
    def url(self) -> str:
        return self.front.url

    def restarted(self) -> list[Part]:
        """What a rolling deployment restarts (SIGTERM), one after the other."""
        return [Part(f"{process.name} restarted", process.stop, process.start) for process in self._ours()]

    def killed(self) -> list[Part]:
        """Each part, and each process of a cluster, that can be killed (SIGKILL)."""
        processes = [Part(f"{process.name} killed", process.kill, process.start) for process in self.processes.values()]
        replicas = [
            Part(f"replica-{number} killed", partial(server.stop, "kill"), server.start)
            for number, server in enumerate(self.replicas, 1)
        ]
        redis = Part("redis killed", partial(self.redis.stop, "kill"), self.redis.start)
        front = self.front.process
        haproxy = Part("haproxy killed", front.kill, front.start, away_for=RESTART_AFTER, answers=False)
        primary = Part("primary killed", partial(self.primary.stop, "kill"), self.primary.start, writes=False)
        return [*_children_killed(self.processes["cluster-1"]), *processes, *replicas, redis, haproxy, primary]

    def _ours(self) -> list[Process]:
        return [process for name, process in self.processes.items() if name != "mailgun"]

    def is_whole(self) -> bool:
        """True if the front and each web process are ready, no check of theirs complains, and the simulator answers."""
        return all(_is_ready(url) for url in (self.url, *self._web_urls)) and _answers(
            f"{self._mailgun_url}/simulator/"
        )

    def add_user(self, name: str, password: str, *, staff: bool = False) -> None:
        self._stack.add_user(name, password, staff=staff)

    def _start(self) -> None:
        self.primary = self._server(PostgreSQL(durable=True, settings=DATABASE))
        self.primary.start()
        url = self.primary.create_database("legwork")
        self.replicas = [self._server(Standby(self.primary)) for _ in range(2)]
        start_all(self.replicas)
        self.redis = self._left_open.enter_context(Redis(settings={"appendonly": "yes"}))
        web_ports, mailgun_port = [free_port(), free_port()], free_port()
        self._mailgun_url = f"http://127.0.0.1:{mailgun_port}"
        self._web_urls = [f"http://127.0.0.1:{port}" for port in web_ports]
        self.front = Front(web_ports, self.folder / "front.log")
        self._left_open.callback(self.front.remove)
        self._stack = Stack(url, self.folder, clusters=0, env=self._settings())
        self._stack.migrate()
        for number, port in enumerate(web_ports, 1):
            options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
            self._add(f"web-{number}", sys.executable, "-m", "uvicorn", "project.asgi:application", *options)
        for number in (1, 2):
            self._add(f"cluster-{number}", *MANAGE, "qcluster", "--workers", "1", "--io-workers", "1")
        webhooks = f"{self.url}/webhooks/mailgun/tracking/"
        self._add("mailgun", *MANAGE, "mailgun_simulator", "--port", str(mailgun_port), "--webhook-url", webhooks)
        self.front.process.start()
        for process in self.processes.values():
            process.start()
        eventually(self.is_whole, UP_WITHIN, f"{self.url}/readyz answering with ok")

    def _settings(self) -> Mapping[str, str]:
        return {
            "REPLICA_URLS": ",".join(server.url("legwork") for server in self.replicas),
            "BROKER_URL": self.redis.url(0),
            "CACHE_URL": self.redis.url(1),
            "MAILGUN_API_URL": f"{self._mailgun_url}/v3",
            # The simulator's event log is complete at once, and a killed one has forgotten what it had accepted.
            "MAIL_SETTLED_AFTER": "20",
            "NUM_PROXIES": "1",
            "PUBLIC_URL": self.url,
            "RATE_LIMIT_PER_MINUTE": "1000000",
        }

    def _server(self, server: Server) -> Server:
        self._left_open.callback(server.remove)
        return server

    def _add(self, name: str, *command: str) -> None:
        process = Process(name, command, log=self.folder / f"{name}.log", env=self._stack.env, cwd=ROOT)
        self.processes[name] = process
        self._left_open.callback(process.stop)


def _children_killed(cluster: Process) -> list[Part]:
    """The processes of a cluster as parts that are killed, and that its supervisor replaces."""
    children = _children(cluster.pid)

    def replaced(child: str) -> None:
        def found() -> bool:
            now = _children(cluster.pid)
            return child not in now and len(now) == len(children)

        eventually(found, REPLACED_WITHIN, f"{cluster.name}: the replacement of process {child}")

    return [
        Part(
            f"{cluster.name}: {_role(cluster, child)} killed",
            partial(os.kill, int(child), signal.SIGKILL),
            partial(replaced, child),
            away_for=0,
        )
        for child in children
    ]


def _children(process: int) -> list[str]:
    """Process ids, oldest first (proc(5))."""
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def _role(cluster: Process, child: str) -> str:
    """As its supervisor's log says."""
    return re.findall(rf"child=\S+:{child} role=(\S+)", cluster.log.read_text())[-1]


def _is_ready(url: str) -> bool:
    answer = _get(f"{url}/readyz")
    return answer is not None and answer.ok and answer.json()["status"] == "ok"


def _answers(url: str) -> bool:
    return _get(url) is not None


def _get(url: str) -> requests.Response | None:
    try:
        return requests.get(url, timeout=5)
    except requests.RequestException:
        return None
