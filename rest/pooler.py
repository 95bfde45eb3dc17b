"""Finds a pooler, such as PgBouncer in transaction mode, between this process and PostgreSQL.

Behind one, each transaction may run in another session. What is set for a session (read-only, LISTEN, a prepared
statement) would be lost, and would reach the next client of that session, which may be another application.
"""

from collections.abc import MutableMapping
from typing import Any

import structlog

log = structlog.get_logger(__name__)

POOLED = "DISABLE_SERVER_SIDE_CURSORS"
"""Django's setting of a database behind a pooler. `?disable_server_side_cursors=true` in its address sets it."""
SESSIONS_ARE_OURS = "SESSIONS_ARE_OURS"
"""The setting of a database whose address ends with `?disable_server_side_cursors=false`: no pooler is looked for."""


def is_pooled(database: MutableMapping[str, Any]) -> bool:
    """True if a pooler is known to be in front of this database (an entry of DATABASES)."""
    return bool(database.get(POOLED))


def find_pooler(database: MutableMapping[str, Any], driver: Any) -> bool:
    """True if this new connection leads to a pooler, which is remembered in the database's settings.

    driver: psycopg2's connection, in autocommit mode. A pooler gives its clients process numbers of its own, which are
    not those of PostgreSQL's backends. A pooler in session mode is taken for one in transaction mode.
    """
    if is_pooled(database) or database.get(SESSIONS_ARE_OURS):
        return is_pooled(database)
    with driver.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone() == (driver.info.backend_pid,):
            return False
    database[POOLED] = True
    log.warning("pooler_found", host=database.get("HOST"), port=database.get("PORT"))
    return True
