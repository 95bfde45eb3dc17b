"""A private PostgreSQL server that a test may stop, kill and start again."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from demo.eventually import eventually
from demo.processes import Process, free_port
from demo.stack import ROOT
from tests.support.servers.folders import make_folder, server_user
from tests.support.servers.private_server import PrivateServer

SUPERUSER = "legwork"
FIND_PROGRAMS = ROOT / "bin" / "postgresql"

ALWAYS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "400"}
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Quick, and safe as long as the machine itself does not crash; a killed server loses nothing but the last commits."""

STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}
GONE = ("", "Z", "X")
"""The states of a process that does nothing any more; "" is that of one that is not there."""


class PostgreSQL(PrivateServer):
    """One server. `durable=True` for tests that crash it and ask what was kept; `settings` go on its command line."""

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.folder = make_folder("postgresql")
        self.data = self.folder / "data"
        self.port = free_port()
        self.settings = {**ALWAYS, **({} if durable else CARELESS), **(settings or {})}
        self._programs = programs()
        self._initialise()
        self._process = self._make_process()

    def url(self, database: str = "postgres") -> str:
        return f"postgres://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        return create_database(self.url(), name)

    def start(self, within: float = 60) -> None:
        start_all([self], within)

    def stop(self, mode: str = "fast") -> None:
        """`smart`, `fast`, `immediate` as in pg_ctl, or `kill`: SIGKILL to every one of its processes."""
        if mode == "kill":
            self._kill_all()
        else:
            self._process.stop(STOP_SIGNALS[mode])

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """In the body the server is suspended: it answers nothing, but the kernel accepts connections and data."""
        processes = [self._process.pid, *self._stand_still()]
        try:
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self) -> None:
        command = [self._programs / "initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "--no-sync"]
        command += ["-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(command, user=server_user(), cwd=self.folder, check=True, capture_output=True)

    def _make_process(self) -> Process:
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        log = self.folder / "log"
        return Process(
            "PostgreSQL", command, log=log, cwd=self.folder, user=server_user(), death_signal=STOP_SIGNALS["immediate"]
        )

    def _kill_all(self) -> None:
        """The children, in process groups of their own, could commit something until they notice that it is dead: they
        are killed first, while the main process is suspended and starts no others."""
        children = self._stand_still() if self._process.running() else []
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.kill()
        eventually(lambda: all(_state_and_parent(child)[0] in GONE for child in children), 60, "its children's death")

    def _stand_still(self) -> list[int]:
        """Suspend the main process, so that it starts no others; returns these."""
        os.kill(self._process.pid, signal.SIGSTOP)
        eventually(lambda: _state_and_parent(self._process.pid)[0] == "T", 60, "PostgreSQL's standing still")
        return _children(self._process.pid)

    def _came_up(self) -> bool:
        if not self._process.running():
            self._process.start()
        return accepts_connections(self.url())


def start_all(servers: Sequence[PostgreSQL], within: float = 60) -> None:
    """Start all servers that do not run, at the same time. After a kill, wait for what the dead server's children still
    hold."""
    what = ", ".join(server._process.tail(5) for server in servers)
    eventually(lambda: {server._came_up() for server in servers} <= {True}, within, f"PostgreSQL's start (log: {what})")


def programs() -> Path:
    """The folder of initdb and postgres; RuntimeError where no server is installed."""
    found = subprocess.run([FIND_PROGRAMS], capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError("No PostgreSQL server is installed here; `make test` installs one where it may.")
    return Path(found.stdout.strip())


def create_database(server_url: str, name: str) -> str:
    """A new and empty database on the server of this URL; its own URL."""
    with _cursor(_with_database(server_url, "postgres")) as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{name}"')
    return _with_database(server_url, name)


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def accepts_connections(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=60).close()
    except psycopg2.OperationalError:
        return False
    return True


@contextlib.contextmanager
def _cursor(url: str) -> Iterator["psycopg2.extensions.cursor"]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _children(parent: int) -> list[int]:
    everybody = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    return [process for process in everybody if _state_and_parent(process)[1] == parent]


def _state_and_parent(process: int) -> tuple[str, int]:
    """Of one process (proc(5), /proc/pid/stat); "" and 0 when it is gone."""
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    return state, int(parent)
