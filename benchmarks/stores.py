"""The private servers of a bench run: PostgreSQL with durable commits, Redis with defaults but without snapshots."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2

from benchmarks.tree import Tree
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.redis import Redis


@dataclass(frozen=True, slots=True)
class Stores:
    """Running servers. Each peer has a database of its own on PostgreSQL, and Redis to itself while it runs."""

    postgresql: PostgreSQL
    redis: Redis | None

    def url_of_database(self, name: str) -> str:
        return self.postgresql.url(_database(name))

    def create_database(self, name: str) -> str:
        """Create an empty database for this contender; returns its URL."""
        return self.postgresql.create_database(_database(name))

    def url_of_redis(self) -> str:
        """Without a database's number."""
        return self.redis.url().removesuffix("/0") if self.redis else ""

    def tree(self) -> Tree:
        postmaster = int((self.postgresql.data / "postmaster.pid").read_text().split()[0])
        return Tree(postmaster, *([self.redis.pid] if self.redis else []))

    def empty_redis(self) -> None:
        """Delete everything that the contender before has left, whatever its keys."""
        if self.redis:
            self.redis.command("FLUSHALL")

    def calm_down(self) -> None:
        """Flush what was written before to the disk, so that this does not slow down what is measured next."""
        self.execute("CHECKPOINT")

    def execute(self, statement: str, database: str = "postgres") -> None:
        connection = psycopg2.connect(self.postgresql.url(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def wal_bytes(self) -> int:
        """The position in PostgreSQL's write-ahead log."""
        connection = psycopg2.connect(self.postgresql.url())
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
                return int(cursor.fetchone()[0])
        finally:
            connection.close()

    def versions(self) -> dict[str, str]:
        found = {"PostgreSQL": self._version_of_postgresql()}
        return found | ({"Redis": self.redis.version()} if self.redis else {})

    def _version_of_postgresql(self) -> str:
        connection = psycopg2.connect(self.postgresql.url())
        try:
            number = connection.server_version
        finally:
            connection.close()
        return f"{number // 10000}.{number % 10000}"


def _database(name: str) -> str:
    return f"bench_{name.replace('-', '_')}"


@contextmanager
def running_stores(*, redis: bool = True) -> Iterator[Stores]:
    with PostgreSQL(durable=True) as postgresql:
        if not redis:
            yield Stores(postgresql, None)
            return
        with Redis() as server:
            yield Stores(postgresql, server)
