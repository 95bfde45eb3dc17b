"""Triggers for tables whose rows can be watched (rest/watch).

- Every change of a row raises its `version`: microseconds since 1970, so that the versions of different rows can be
  compared, and in any case more than before. Statements that are executed all the time set it themselves.
- On PostgreSQL every INSERT and UPDATE tells of its rows in one notification for a hundred of them, while somebody
  watches: until the time, in seconds since 1970, that is the value of the sequence rest_watched_until. A trigger's WHEN
  reads a sequence in a microsecond; a function that looks into a table takes ten, in each statement.
"""

from collections.abc import Callable
from typing import Any

NEXT_VERSION = {
    "postgresql": "greatest({old} + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)",
    "sqlite": "max({old} + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000)",
}

WATCHED = "pg_sequence_last_value('rest_watched_until'::regclass) > extract(epoch FROM statement_timestamp())"

INSTALL = (
    "CREATE SEQUENCE rest_watched_until",
    f"""
    CREATE OR REPLACE FUNCTION rest_raise_version() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.version = {NEXT_VERSION["postgresql"].format(old="OLD.version")};
        RETURN NEW;
    END
    $$
    """,
    # A payload has less than 8000 bytes. Who is told of "*" looks at all that is watched.
    """
    CREATE OR REPLACE FUNCTION rest_tell_watchers() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) > 2000 FROM changed) THEN
            PERFORM pg_notify('legwork_changes', TG_TABLE_NAME || ' *');
        ELSE
            PERFORM pg_notify('legwork_changes', TG_TABLE_NAME || ' ' || string_agg(part, ','))
            FROM (
                SELECT (row_number() OVER () - 1) / 100 AS page, concat(id, '/', user_id) AS part FROM changed
            ) AS numbered GROUP BY page;
        END IF;
        RETURN NULL;
    END
    $$
    """,
)

Step = Callable[[Any, Any], None]


def install_functions(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for statement in INSTALL:
            schema_editor.execute(statement, params=None)


def remove_functions(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for name in ("rest_raise_version", "rest_tell_watchers"):
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()", params=None)
        schema_editor.execute("DROP SEQUENCE IF EXISTS rest_watched_until", params=None)


def watchable(table: str, columns: tuple[str, ...]) -> tuple[Step, Step]:
    """Steps that install the triggers of this table and remove them. columns: those whose change is told."""
    names = (f"{table}_version", f"{table}_inserted_watched", f"{table}_updated_watched")
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    install = {
        "postgresql": (
            f"""
            CREATE TRIGGER {names[0]} BEFORE UPDATE ON {table} FOR EACH ROW
            WHEN (NEW.version = OLD.version AND ROW({new}) IS DISTINCT FROM ROW({old}))
            EXECUTE FUNCTION rest_raise_version()
            """,
            f"""
            CREATE TRIGGER {names[1]} AFTER INSERT ON {table} REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT WHEN ({WATCHED}) EXECUTE FUNCTION rest_tell_watchers()
            """,
            f"""
            CREATE TRIGGER {names[2]} AFTER UPDATE ON {table} REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT WHEN ({WATCHED}) EXECUTE FUNCTION rest_tell_watchers()
            """,
        ),
        "sqlite": (
            f"""
            CREATE TRIGGER {names[0]} AFTER UPDATE ON {table} FOR EACH ROW
            WHEN NEW.version = OLD.version AND ({new}) IS NOT ({old})
            BEGIN
                UPDATE {table} SET version = {NEXT_VERSION["sqlite"].format(old="OLD.version")} WHERE id = NEW.id;
            END
            """,  # noqa: S608 our own names
        ),
    }
    on_table = {"postgresql": f" ON {table}", "sqlite": ""}

    def install_triggers(apps: Any, schema_editor: Any) -> None:
        for statement in install[schema_editor.connection.vendor]:
            schema_editor.execute(statement, params=None)

    def remove_triggers(apps: Any, schema_editor: Any) -> None:
        vendor = schema_editor.connection.vendor
        for name in names[: len(install[vendor])]:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}{on_table[vendor]}", params=None)

    return install_triggers, remove_triggers
