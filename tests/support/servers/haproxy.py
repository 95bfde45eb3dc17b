"""The real HAProxy with the configuration of deploy/haproxy, before private PostgreSQL servers."""

import csv
import shutil
import socket
import subprocess

from demo.eventually import eventually
from demo.processes import Process, free_port
from demo.stack import ROOT
from tests.support.servers.folders import make_folder, server_user
from tests.support.servers.postgresql import SUPERUSER, PostgreSQL
from tests.support.servers.private_server import PrivateServer
from tests.support.servers.standby import ask

DEPLOY = ROOT / "deploy" / "haproxy"
FIND_PROGRAM = ROOT / "bin" / "haproxy"


class HAProxy(PrivateServer):
    """One proxy before three servers, which are known to it as postgresql1, 2 and 3 in the order given here."""

    def __init__(self, servers: list[PostgreSQL]) -> None:
        self.servers = servers
        self.program = program()
        self.folder = make_folder("haproxy")
        self.write_port, self.read_port = free_port(), free_port()
        self._socket = self.folder / "stats"
        # A copy, because the server's user may not look into our folders.
        self._configuration = shutil.copy(DEPLOY / "haproxy.cfg", self.folder)
        self._process = self._make_process()

    def write_url(self, database: str) -> str:
        return f"postgres://{SUPERUSER}@127.0.0.1:{self.write_port}/{database}"

    def read_url(self, database: str) -> str:
        return f"postgres://{SUPERUSER}@127.0.0.1:{self.read_port}/{database}"

    def start(self, within: float = 60) -> None:
        self._process.start()
        eventually(self._knows_the_primary, within, f"HAProxy's finding the primary (log: {self._process.tail(5)})")

    def remove(self) -> None:
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self, lines: int = 40) -> str:
        return self._process.tail(lines)

    def up(self, backend: str) -> set[int]:
        """The ports of the servers that this backend (`primary` or `replicas`) uses now, without fallbacks."""
        return {self._port(row) for row in self._rows(backend, "postgresql") if row["status"].startswith("UP")}

    def out_for(self, backend: str, server: PostgreSQL) -> int:
        """For how many seconds this backend has not used this server."""
        row = self._rows(backend, "postgresql")[self.servers.index(server)]
        return int(row["lastchg"]) if row["status"].startswith("DOWN") else 0

    def sessions(self, backend: str, kind: str = "postgresql") -> dict[int, int]:
        """How many connections lead to each server, by port. kind: `primary` for those that had to fall back on it."""
        return {self._port(row): int(row["scur"]) for row in self._rows(backend, kind)}

    def spread_anew(self) -> None:
        """Cuts the connections of the read port: new ones go to the server with the fewest."""
        for number in range(1, len(self.servers) + 1):
            self.command(f"shutdown sessions server replicas/postgresql{number}")

    def command(self, line: str) -> str:
        """The answer to one command of HAProxy's management guide, "Unix Socket commands"."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self._socket))
            connection.sendall(line.encode() + b"\n")
            return connection.makefile("r").read()

    def _rows(self, backend: str, kind: str) -> list[dict[str, str]]:
        table = csv.DictReader(self.command("show stat").lstrip("# ").splitlines())
        return [row for row in table if row["pxname"] == backend and row["svname"].startswith(kind)]

    def _port(self, row: dict[str, str]) -> int:
        return self.servers[int(row["svname"][-1]) - 1].port

    def _knows_the_primary(self) -> bool:
        self._process.check()
        return self._socket.exists() and len(self.up("primary")) == 1

    def _make_process(self) -> Process:
        env = {
            "WRITE_PORT": f"127.0.0.1:{self.write_port}",
            "READ_PORT": f"127.0.0.1:{self.read_port}",
            "STATS_SOCKET": str(self._socket),
            **{f"POSTGRESQL_{number}": f"127.0.0.1:{server.port}" for number, server in enumerate(self.servers, 1)},
        }
        # -dW: a warning about the configuration is an error.
        command = [self.program, "-W", "-db", "-dW", "-f", str(self._configuration)]
        log = self.folder / "log"
        return Process("HAProxy", command, log=log, env=env, cwd=self.folder, user=server_user())


def program() -> str:
    """The path of haproxy; RuntimeError where it is not installed."""
    found = subprocess.run([FIND_PROGRAM], capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError("HAProxy is not installed here; `make test` installs it where it may.")
    return found.stdout.strip()


def prepare(primary: PostgreSQL) -> None:
    """What the checks need, as the file for it says."""
    ask(primary.url(), (DEPLOY / "check.sql").read_text())
