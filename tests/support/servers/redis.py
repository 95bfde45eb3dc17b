"""A private Redis server that a test may stop, kill, empty and start again."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping

from demo.eventually import eventually
from demo.processes import Process, free_port
from tests.support.servers.folders import make_folder, server_user
from tests.support.servers.private_server import PrivateServer

IN_MEMORY = {"save": "", "appendonly": "no"}
"""Nothing is written to disk: what a server that is stopped or killed held is gone."""
STOP_SIGNALS = {"fast": signal.SIGTERM, "kill": signal.SIGKILL}


class Redis(PrivateServer):
    """One server. `settings` go on its command line, e.g. {"appendonly": "yes"} to keep what a killed one held."""

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        self.program = program()
        self.folder = make_folder("redis")
        self.port = free_port()
        self.settings = {**IN_MEMORY, **(settings or {})}
        self._process = self._make_process()

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def start(self, within: float = 60) -> None:
        eventually(self._came_up, within, f"Redis's start (log: {self._process.tail(5)})")

    def stop(self, mode: str = "fast") -> None:
        """`fast`: asked to end, or `kill`."""
        if mode == "kill":
            self._process.kill()
        else:
            self._process.stop(STOP_SIGNALS[mode])

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def remove(self) -> None:
        self._process.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words: str) -> str:
        """The first line of the server's answer, e.g. `+OK` to FLUSHALL or `:3` to LLEN (redis.io, RESP)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(_encoded(words))
            return connection.makefile("rb").readline().decode().strip()

    def version(self) -> str:
        shown = subprocess.run([self.program, "--version"], check=True, capture_output=True, text=True).stdout
        return shown.partition("v=")[2].split()[0]

    def _make_process(self) -> Process:
        settings = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.folder), **self.settings}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        log = self.folder / "log"
        return Process("Redis", [self.program, *options], log=log, cwd=self.folder, user=server_user())

    def _came_up(self) -> bool:
        if not self._process.running():
            self._process.start()
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False


def program() -> str:
    """The path of redis-server; RuntimeError where it is not installed."""
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("No Redis server is installed here; `make bench` installs one where it may.")
    return found


def _encoded(words: tuple[str, ...]) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
