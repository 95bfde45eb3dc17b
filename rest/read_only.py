"""Safe methods cannot write, by construction: while one is answered, no connection takes anything but reads."""

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
"""Anywhere in a statement, and any second statement behind a first one."""
QUIET = re.compile(
    r"""
    (?<!\w)[eE]'(?:[^'\\]|\\.|'')*'                 # 'text' with backslashes
    | '(?:[^']|'')*' | "(?:[^"]|"")*"               # 'text', "name"
    | (?<![\w$])(?P<tag>\$\w*\$).*?(?P=tag)         # $tag$text$tag$
    | --[^\n]* | /\*.*?\*/                          # comments
    """,
    re.X | re.S,
)
"""Parts of a statement whose words mean nothing (PostgreSQL, "Lexical Structure")."""
OF_SESSIONS = re.compile(r'\s*(INSERT INTO|UPDATE|DELETE FROM) "django_session"\s', re.I)
"""A session ends when its user's password has changed, whatever the method; nothing else is excepted. (Messages of the
admin live in the session or a cookie.)"""


class WriteInSafeMethod(RuntimeError):
    """A view tried to write while it answered GET, HEAD or OPTIONS."""


def writing_forbidden() -> ExitStack:
    """In this block no connection of this thread takes anything but reads."""
    stack = ExitStack()
    for connection in connections.all():
        stack.enter_context(connection.execute_wrapper(_only_reads))
    return stack


def _only_reads(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    text = sql if isinstance(sql, str) else sql.as_string(context["connection"].connection)
    if not (is_read(text) or _is_of_a_session(text)):
        raise WriteInSafeMethod(f"a safe method must not write: {text[:100]}")
    return execute(sql, params, many, context)


def is_read(sql: str) -> bool:
    """Whether it surely changes nothing; locking rows for an update counts as changing."""
    words = QUIET.sub(" ", sql)
    return bool(READS.match(words)) and not CHANGES.search(words)


def _is_of_a_session(sql: str) -> bool:
    return bool(OF_SESSIONS.match(sql)) and ";" not in QUIET.sub(" ", sql)
