"""How the databases are: from PostgreSQL's own statistics, which are read in milliseconds whatever the tables' size."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection

from routers import PRIMARY, pool

OLDEST_SNAPSHOT = """
    SELECT kind, who, seconds, detail FROM (
        SELECT 'transaction' AS kind, concat_ws(' ', usename, application_name, host(client_addr)) AS who,
            extract(epoch FROM now() - xact_start)::float AS seconds, concat(state, ': ', left(query, 200)) AS detail
        FROM pg_stat_activity
        WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND xact_start IS NOT NULL
            AND pid <> pg_backend_pid() AND backend_type <> 'walsender' AND datname = current_database()
        UNION ALL
        SELECT 'standby', concat_ws(' ', application_name, host(client_addr)), NULL, 'hot_standby_feedback'
        FROM pg_stat_replication WHERE backend_xmin IS NOT NULL AND age(backend_xmin) > 100000
        UNION ALL
        SELECT 'replication slot', slot_name, NULL, CASE WHEN active THEN 'active' ELSE 'not active' END
        FROM pg_replication_slots WHERE xmin IS NOT NULL OR (catalog_xmin IS NOT NULL AND NOT active)
        UNION ALL
        SELECT 'prepared transaction', gid, extract(epoch FROM now() - prepared)::float, owner
        FROM pg_prepared_xacts WHERE database = current_database()
    ) AS held ORDER BY seconds DESC NULLS LAST LIMIT 3
"""
"""Transactions in another database of the same server hold back no row of ours."""
TABLES = """
    SELECT relname, n_live_tup, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid), last_autovacuum
    FROM pg_stat_user_tables WHERE relname = ANY(%s) ORDER BY pg_total_relation_size(relid) DESC
"""
WATCHED = ("jobs_job", "mail_message", "mail_attempt", "mail_event", "jobs_output", "django_session", "django_q_task")
STANDBYS = """
    SELECT coalesce(application_name, ''), host(client_addr), state, extract(epoch FROM replay_lag)::float,
        pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint
    FROM pg_stat_replication ORDER BY 1, 2
"""
POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"


HELD = 1.0
"""Seconds of age above which a transaction is shown: the dashboard need not list short ones."""
LATE = 2.0
"""Seconds of lag that count as late: while a cluster runs, something is committed at least this often."""


@dataclass(frozen=True)
class Snapshot:
    """What holds back vacuum. seconds: its age, None if it is not known."""

    kind: str
    who: str
    seconds: float | None
    detail: str

    @property
    def is_held(self) -> bool:
        return self.seconds is None or self.seconds > HELD


@dataclass(frozen=True)
class Table:
    """live, dead: rows by estimate. size, indexes: bytes."""

    name: str
    live: int
    dead: int
    size: int
    indexes: int
    vacuumed_at: Any

    @property
    def dead_share(self) -> float:
        return self.dead / max(self.live + self.dead, 1)


@dataclass(frozen=True)
class Standby:
    """As the primary sees it. lag: seconds; behind: bytes of WAL. None if this database user may not see it."""

    name: str
    address: str | None
    state: str | None
    lag: float | None
    behind: int | None


@dataclass(frozen=True)
class Replica:
    """As this process saw it at the last probe. behind: bytes of WAL; None if it is out. lag: seconds since the commit
    that it replayed last; None if it does not answer."""

    alias: str
    in_use: bool
    behind: int | None
    lag: float | None

    def lags_by(self, seconds: float) -> bool:
        return bool(self.behind) and (self.lag or 0.0) > seconds

    @property
    def is_late(self) -> bool:
        return self.lags_by(LATE)


def is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def oldest_snapshots() -> list[Snapshot]:
    return [Snapshot(*row) for row in _rows(OLDEST_SNAPSHOT)]


def tables() -> list[Table]:
    return [Table(*row) for row in _rows(TABLES, [list(WATCHED)])]


def standbys() -> list[Standby]:
    return [Standby(*row) for row in _rows(STANDBYS)]


def replicas() -> list[Replica]:
    if not settings.REPLICAS or not is_postgresql():
        return []
    pool.ensure_probed()
    [(written,)] = _rows(POSITION)
    replayed, lag = pool.replayed.copy(), pool.lag.copy()
    return [
        Replica(
            alias, alias in replayed, max(written - replayed[alias], 0) if alias in replayed else None, lag.get(alias)
        )
        for alias in settings.REPLICAS
        if alias != PRIMARY
    ]


def _rows(query: str, values: Any = None) -> list[tuple[Any, ...]]:
    if not is_postgresql():
        return []
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
