"""`manage.py replicas`: prints the current state of the primary and its replicas as a table."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connections

from project.replicas.probe import primary_position, state_of
from project.replicas.replica_pool import fault
from routers import PRIMARY

Row = tuple[str, str, str, str, str, int | None]
"""Name, role, lag, position, state, rows read."""

HEADER = ("name", "role", "lag", "position", "state", "share of reads")
ROWS_READ = "SELECT tup_returned FROM pg_stat_database WHERE datname = current_database()"


class Command(BaseCommand):
    help = "Show the primary and its replicas: role, lag, replay position, state, and their share of the rows read."

    def handle(self, *args: Any, **options: Any) -> None:
        if connections[PRIMARY].vendor != "postgresql":
            self.stdout.write("The database is not PostgreSQL; it has no replicas.")
            return
        written = primary_position()
        rows = [_primary(written), *(_replica(alias, written) for alias in settings.REPLICAS)]
        for line in _table(rows):
            self.stdout.write(line)


def _primary(written: int | None) -> Row:
    if written is None:
        return (PRIMARY, "primary", "", "", "does not answer", None)
    return (PRIMARY, "primary", "", _lsn(written), "good", _rows_read(PRIMARY))


def _replica(alias: str, written: int | None) -> Row:
    try:
        state = state_of(alias)
    except (DatabaseError, InterfaceError):
        return (alias, "?", "", "", "does not answer", None)
    if not state.standby:
        # HAProxy's read port when no standby is left.
        return (alias, "primary", "", "", fault(state, written) or "good", _rows_read(alias))
    behind = f"{max(written - state.replayed, 0)} bytes" if written is not None else "?"
    return (
        alias,
        "standby",
        f"{state.lag:.1f} s, {behind}",
        _lsn(state.replayed),
        fault(state, written) or "good",
        _rows_read(alias),
    )


def _rows_read(alias: str) -> int | None:
    """Rows read since the server's statistics were last reset."""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(ROWS_READ)
            return int(cursor.fetchone()[0])
    except (DatabaseError, InterfaceError):
        return None


def _lsn(position: int) -> str:
    """In PostgreSQL's notation."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def _table(rows: list[Row]) -> list[str]:
    total = sum(read or 0 for *_, read in rows) or 1
    cells = [HEADER, *((*texts, "" if read is None else f"{100 * read / total:.0f} %") for *texts, read in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
