"""The databases: snapshots that hold back vacuum, dead rows, replicas, and the schema."""

from collections.abc import Iterator

from django.apps import apps
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from monitor.checkup.problem import Level, Problem
from monitor.dashboard import database
from monitor.dashboard.facts import Facts
from monitor.templatetags.monitor_tags import duration, size
from rest.pooler import is_pooled

NOTED_SNAPSHOT, OLD_SNAPSHOT = 5.0, 300.0
"""Seconds after which a snapshot is noted, and is a warning: a backup may take minutes."""
LAG = 10.0
"""Seconds."""
BEHIND = 64 * 1024 * 1024
"""Bytes of WAL, where the time is not known."""
DEAD_ROWS = 200_000
INVALID = """
    SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE NOT indisvalid AND nspname = current_schema()
"""


def snapshot_problems(facts: Facts) -> Iterator[Problem]:
    for snapshot in facts.snapshots:
        if snapshot.seconds is not None and snapshot.seconds > NOTED_SNAPSHOT:
            yield Problem(
                Level.WARNING if snapshot.seconds > OLD_SNAPSHOT else Level.NOTE,
                f"A {snapshot.kind} of {snapshot.who or 'unknown'} is {duration(snapshot.seconds)} old and holds back"
                f" vacuum ({snapshot.detail[:100]}).",
                "Dead rows pile up: end it (pg_terminate_backend, ROLLBACK PREPARED), or run it where it does no harm.",
                "snapshot-held",
            )


def pooler_notes(facts: Facts) -> Iterator[Problem]:
    for alias in connections:
        connections[alias].ensure_connection()
        if is_pooled(connections[alias].settings_dict):
            yield Problem(
                Level.NOTE,
                f"The database {alias} is reached through a pooler, such as PgBouncer.",
                "Nothing has to be set. Workers and streams poll instead of being notified, and no call is gathered: a"
                " direct connection is faster.",
                "pooler",
            )


def replica_problems(facts: Facts) -> Iterator[Problem]:
    for replica in facts.replicas:
        if not replica.in_use:
            yield Problem(
                Level.WARNING,
                f"The replica {replica.alias} is not read from: it is away, lags, or does not stream.",
                "See `python manage.py replicas`. Reads go to the others, or to the primary.",
                "replica-out",
            )
        elif replica.lags_by(LAG):
            yield Problem(
                Level.WARNING,
                f"The replica {replica.alias} lags: {duration(replica.lag)} and {size(replica.behind)} behind.",
                "Look at its load, its disk, and long queries on it that hold up the replay.",
                "standby-lags",
            )
    for standby in facts.standbys:
        name = standby.name or standby.address
        late = (standby.lag or 0) > LAG or (standby.behind or 0) > BEHIND
        if standby.state is not None and (late or standby.state != "streaming"):
            yield Problem(
                Level.WARNING,
                f"The standby {name} is {standby.state}, {duration(standby.lag)} and {size(standby.behind)} behind.",
                "Look at its load, its disk, and long queries on it that hold up the replay.",
                "standby-lags",
            )


def table_problems(facts: Facts) -> Iterator[Problem]:
    for table in database.tables():
        if table.dead > DEAD_ROWS and table.dead > table.live:
            yield Problem(
                Level.WARNING,
                f"{table.name} has about {table.dead:,} dead rows beside {table.live:,} live ones.",
                "Is autovacuum on? Does an old snapshot hold it back? `VACUUM (VERBOSE)` says what it cannot remove.",
                "dead-rows",
            )


def schema_problems(facts: Facts) -> Iterator[Problem]:
    executor = MigrationExecutor(connection)
    if plan := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        names = ", ".join(str(migration) for migration, _ in plan[:5])
        what = f"Migrations are not applied: {names}."
        yield Problem(Level.ERROR, what, "Run `python manage.py migrate`.", "migrations-missing")
        return
    for index in missing_indexes():
        remedy = "Create it as the app's migration says."
        yield Problem(Level.ERROR, f"The index {index} is missing.", remedy, "index-missing")
    if database.is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute(INVALID)
            for (name,) in cursor.fetchall():
                what = f"The index {name} is invalid, and not used."
                yield Problem(Level.ERROR, what, f"Run `REINDEX INDEX CONCURRENTLY {name}`.", "index-invalid")


def missing_indexes() -> list[str]:
    """Indexes that our models have and the database has not."""
    missing = []
    with connection.cursor() as cursor:
        for app in ("jobs", "mail", "monitor"):
            for model in apps.get_app_config(app).get_models():
                present = connection.introspection.get_constraints(cursor, model._meta.db_table)
                missing += [index.name for index in model._meta.indexes if index.name not in present]
    return missing
