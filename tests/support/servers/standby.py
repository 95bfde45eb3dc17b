"""A streaming replica of a private PostgreSQL server: it lags, dies, comes back and is promoted as a test wants."""

import subprocess
from typing import Any

import psycopg2

from demo.eventually import eventually
from tests.support.servers.folders import server_user
from tests.support.servers.postgresql import SUPERUSER, PostgreSQL, accepts_connections

RETRY = {"wal_retrieve_retry_interval": "200ms"}
"""Between two tries to reach the primary; the usual five seconds would be PostgreSQL's own and prove nothing."""
POSITION = "SELECT pg_current_wal_insert_lsn()::text, pg_current_xact_id()"
"""The number makes this a transaction that commits: without one, what is written need not be sent on for a while."""
RECEIVED = """
    SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint WHERE NOT EXISTS (SELECT FROM pg_stat_wal_receiver)
"""
DROP_SLOT = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{}' AND NOT active"


class Standby(PostgreSQL):
    """A hot standby with a replication slot on its primary, most of whose settings it shares."""

    def __init__(self, primary: PostgreSQL) -> None:
        self.primary = primary
        super().__init__(settings=primary.settings | RETRY)

    def _initialise(self) -> None:
        """A copy of the running primary instead of an empty cluster."""
        source = f"host=127.0.0.1 port={self.primary.port} user={SUPERUSER}"
        command = [self._programs / "pg_basebackup", "-d", source, "-D", self.data, "-R", "-X", "stream", "-c", "fast"]
        command += ["-C", "-S", f"standby_{self.port}", "--no-sync"]
        subprocess.run(command, user=server_user(), cwd=self.folder, check=True, capture_output=True)

    def pause(self) -> None:
        """From here on it receives WAL from the primary, and does not replay it."""
        ask(self.url(), "SELECT pg_wal_replay_pause()")
        paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
        eventually(lambda: ask(self.url(), paused)[0], 60, "the pause of the replay")

    def resume(self) -> None:
        ask(self.url(), "SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Promote it to a primary."""
        assert ask(self.url(), "SELECT pg_promote(true, 60)") == (True,)

    def follow(self, primary: PostgreSQL) -> None:
        """From here on it streams from another server, which has been promoted."""
        slot = f"standby_{self.port}"
        ask(primary.url(), f"SELECT pg_create_physical_replication_slot('{slot}')")
        source = f"host=127.0.0.1 port={primary.port} user={SUPERUSER}"
        ask(self.url(), f"ALTER SYSTEM SET primary_conninfo = '{source}'")
        ask(self.url(), "SELECT pg_reload_conf()")
        self.primary = primary

    def received(self) -> int:
        """How many bytes of WAL it has got from its primary, now that this is dead."""
        return int(eventually(lambda: ask(self.url(), RECEIVED), 60, "the end of the stream")[0])

    def catch_up(self, within: float = 60) -> None:
        """Wait until it has replayed all that the primary has written."""
        written, _ = ask(self.primary.url(), POSITION)
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"
        eventually(lambda: ask(self.url(), replayed)[0], within, "the standby's catching up")

    def remove(self) -> None:
        super().remove()
        if accepts_connections(self.primary.url()):
            # Otherwise the primary would keep all further WAL for this slot.
            ask(self.primary.url(), DROP_SLOT.format(f"standby_{self.port}"))


def ask(url: str, question: str) -> tuple[Any, ...]:
    """The first row of the answer; () when there is none."""
    connection = psycopg2.connect(url, connect_timeout=30)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(question)
            return (cursor.fetchone() or ()) if cursor.description else ()
    finally:
        connection.close()
