"""A statement that is executed all the time: PostgreSQL parses and plans it once for each connection (PREPARE)."""

import itertools
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper

Calls = dict[str, str]
"""The EXECUTE of each statement that was prepared."""

_numbers = itertools.count()
"""Each PREPARE has a name of its own: one that was interrupted may have been executed, and its name is taken."""
_known: WeakKeyDictionary[Any, Calls] = WeakKeyDictionary()
"""By the driver's connection, since prepared statements end with it. A transaction that is rolled back keeps them."""


def execute(connection: BaseDatabaseWrapper, statement: str, values: Sequence[Any]) -> None:
    """Execute the statement, which has a %s for each of the values and no other percent sign.

    It is not prepared behind a pooler that gives each transaction another session. Django's own setting for that is
    DISABLE_SERVER_SIDE_CURSORS.
    """
    with connection.cursor() as cursor:
        if not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
            calls = _known.setdefault(connection.connection, {})
            if statement not in calls:
                calls[statement] = _prepare(cursor, f"legwork_{next(_numbers)}", statement, len(values))
            statement = calls[statement]
        cursor.execute(statement, values)


def _prepare(cursor: Any, name: str, statement: str, count: int) -> str:
    numbered = statement % tuple(f"${number}" for number in range(1, count + 1))
    cursor.execute(f"PREPARE {name} AS {numbered}")
    return f"EXECUTE {name} ({', '.join(['%s'] * count)})"
