"""A primary and its standbys below a stack, and which of them was asked: each counts the statements of requests."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from requests import Response

from demo.eventually import eventually
from tests.support.servers.postgresql import PostgreSQL, accepts_connections, start_all
from tests.support.servers.redis import Redis
from tests.support.servers.standby import Standby, ask
from tests.support.stack import Client, Stack

COUNTING = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_utility": "off",
    # What is committed is sent on at once: nothing that was answered is lost with a killed primary.
    "synchronous_commit": "on",
    # A standby that begins to follow a server finds the WAL that it has missed.
    "wal_keep_size": "512MB",
}
COUNT = """
    SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements
    WHERE query ~* '(jobs_job|project_token|auth_user|project_session)' AND query !~ '^UPDATE "project_token"'
"""
"""The statements that requests cause: those of the probe and of the set-up name no table, and the day of a token's last
use is written some time after the requests."""
JOB = {"kind": "demo.countdown", "params": {"seconds": 0}}
LATER = {**JOB, "run_at": "2100-01-01T00:00:00Z"}
NOT_GATHERED = {"Prefer": "respond-async"}
"""A header field that project/gathering does not know: each such request has a connection of the pool to itself, while
gathered ones share one, which leads to one standby behind HAProxy."""
READS = 24
"""Of so many reads, spread at random over two standbys, one gets none once in eight million times."""


@dataclass
class Topology:
    primary: PostgreSQL
    standbys: list[Standby]
    stack: Stack

    @property
    def servers(self) -> list[PostgreSQL]:
        return [self.primary, *self.standbys]

    @property
    def standby_ports(self) -> set[int]:
        return {standby.port for standby in self.standbys}

    def start_servers(self) -> None:
        """Start all servers, and wait until the standbys have caught up with the primary."""
        start_all(self.servers)
        for standby in self.standbys:
            standby.resume()
        for standby in self.standbys:
            standby.catch_up()

    def forget(self) -> None:
        for server in self._running:
            ask(server.url("legwork"), "SELECT pg_stat_statements_reset()")

    def statements(self) -> Counter[int]:
        """How many statements of requests each server has run, by port; servers without any are left out."""
        counts = {server.port: ask(server.url("legwork"), COUNT)[0] for server in self._running}
        return +Counter(counts)

    def reads_from(self, client: Client, path: str) -> set[int]:
        """The ports of the servers that answer a few dozen reads."""
        self.forget()
        with ThreadPoolExecutor(8) as threads:
            statuses = Counter(
                threads.map(lambda _: client.another().get(path, headers=NOT_GATHERED).status_code, range(READS))
            )
        assert statuses == {200: READS}
        return set(self.statements())

    def settled(self, client: Client, path: str) -> None:
        """Wait until this client, which may have written, reads from all standbys again and from no other server."""
        for standby in self.standbys:
            standby.catch_up()
        eventually(lambda: self.reads_from(client, path) == self.standby_ports, 90, "reads from the standbys alone")

    def seconds_for(self, answer: Response) -> float:
        """How long the web process took for this answer, by its own log."""
        request = re.escape(answer.headers["X-Request-ID"])
        [took] = re.findall(rf" request .*duration_ms=([\d.]+).* request_id={request}", self.log)
        return float(took) / 1000

    @property
    def log(self) -> str:
        """The web process's."""
        return self.stack.web.log.read_text(errors="replace")

    @property
    def _running(self) -> list[PostgreSQL]:
        return [server for server in self.servers if accepts_connections(server.url())]


def make_primary(settings: dict[str, str] | None = None) -> PostgreSQL:
    """A running server that counts; the caller removes it."""
    primary = PostgreSQL(settings=COUNTING | (settings or {}))
    primary.start()
    ask(primary.create_database("legwork"), "CREATE EXTENSION pg_stat_statements")
    return primary


def make_standbys(primary: PostgreSQL) -> list[Standby]:
    """Two running standbys; the caller removes them."""
    standbys = [Standby(primary) for _ in range(2)]
    start_all(standbys)
    return standbys


def patient_cache(redis: Redis) -> str:
    """The URL of this cache with a long timeout; usually a cache that takes more than a second counts as away."""
    return f"{redis.url()}?socket_timeout=60&socket_connect_timeout=60"


def make_job(client: Client) -> str:
    """The URL of a job that nobody will run."""
    return str(client.post("jobs/", LATER, expect=202).headers["Location"])


def reads_own_write(client: Client) -> int:
    another = client.another()
    return another.get(make_job(another)).status_code
