"""A private PgBouncer in transaction mode before a PostgreSQL server."""

import shutil
import signal
import subprocess
from urllib.parse import urlsplit

import psycopg2

from demo.eventually import eventually
from demo.processes import Process, free_port
from demo.stack import ROOT
from tests.support.servers.folders import make_folder, server_user
from tests.support.servers.private_server import PrivateServer

CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 500
"""


class PgBouncer(PrivateServer):
    """sessions: how many of the server's sessions all clients of a database and user share."""

    def __init__(self, server_url: str, sessions: int = 3) -> None:
        self.server = urlsplit(server_url)
        self.folder = make_folder("pgbouncer")
        self.port = free_port()
        configuration = self.folder / "pgbouncer.ini"
        users = self.folder / "users"
        users.write_text(f'"{self.server.username}" ""\n')
        values = {"host": self.server.hostname, "port": self.server.port, "users": users}
        configuration.write_text(CONFIGURATION.format(**values, own_port=self.port, sessions=sessions))
        command = [program(), str(configuration)]
        self._process = Process("PgBouncer", command, log=self.folder / "log", cwd=self.folder, user=server_user())

    def url(self, database: str, parameters: str = "") -> str:
        return f"postgres://{self.server.username}@127.0.0.1:{self.port}/{database}{parameters}"

    def start(self) -> None:
        self._process.start()
        eventually(self._answers, 60, f"PgBouncer's start (log: {self._process.tail(5)})")

    def remove(self) -> None:
        self._process.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True


def program() -> str:
    """The path of pgbouncer; RuntimeError where it is not installed."""
    found = subprocess.run([ROOT / "bin" / "pgbouncer"], capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError("PgBouncer is not installed here; `make test` installs it where it may.")
    return found.stdout.strip()
