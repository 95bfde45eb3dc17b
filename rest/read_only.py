"""Keeps safe methods from writing: during GET, HEAD and OPTIONS every database connection refuses all but reads."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from django.db import connections

READS = re.compile(
    r"\s*\(*\s*(SELECT|WITH|VALUES|TABLE|SHOW|EXPLAIN|SAVEPOINT|RELEASE|ROLLBACK|BEGIN|DECLARE|FETCH|CLOSE)\b", re.I
)
CHANGES = re.compile(
    r"\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|INTO|CREATE|EXECUTE|REFRESH|NEXTVAL|SETVAL|PG_NOTIFY"
    r"|FOR\s+(KEY\s+)?SHARE)\b|;\s*\S",
    re.I,
)
"""Found anywhere in a statement; also any second statement after a semicolon."""
LITERALS_AND_COMMENTS = re.compile(
    r"""
    (?<!\w)[eE]'(?:[^'\\]|\\.|'')*'                 # 'text' with backslashes
    | '(?:[^']|'')*' | "(?:[^"]|"")*"               # 'text', "name"
    | (?<![\w$])(?P<tag>\$\w*\$).*?(?P=tag)         # $tag$text$tag$
    | --[^\n]* | /\*.*?\*/                          # comments
    """,
    re.X | re.S,
)
"""Parts of a statement whose words are not keywords (PostgreSQL, "Lexical Structure")."""
SESSION_WRITE = re.compile(r'\s*(INSERT INTO|UPDATE|DELETE FROM) "project_session"\s', re.I)
"""The only exception: a session ends at the first request after a password change, whatever the method. (Messages of
the admin are in the session or a cookie.)"""


class WriteInSafeMethod(RuntimeError):
    """A view tried to write while it answered GET, HEAD or OPTIONS."""


def forbid_writes() -> ExitStack:
    """A block in which this thread's connections raise WriteInSafeMethod for anything but reads."""
    stack = ExitStack()
    for connection in connections.all():
        stack.enter_context(connection.execute_wrapper(_refuse_writes))
    return stack


def _refuse_writes(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    text = sql if isinstance(sql, str) else sql.as_string(context["connection"].connection)
    if not (is_read(text) or _is_session_write(text)):
        raise WriteInSafeMethod(f"a safe method must not write: {text[:100]}")
    return execute(sql, params, many, context)


def is_read(sql: str) -> bool:
    """True if the statement certainly changes nothing. Locking rows counts as a change."""
    words = LITERALS_AND_COMMENTS.sub(" ", sql)
    return bool(READS.match(words)) and not CHANGES.search(words)


def _is_session_write(sql: str) -> bool:
    return bool(SESSION_WRITE.match(sql)) and ";" not in LITERALS_AND_COMMENTS.sub(" ", sql)
