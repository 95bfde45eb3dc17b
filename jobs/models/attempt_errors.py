"""What is kept of failed attempts: a bounded list in the job's row. The database appends to it; nothing reads it first.

A job whose errors are many and long is claimed, rescued and ended as quickly as any other.
"""

import json
from collections.abc import Sequence
from typing import Any, TypedDict

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, JSONField, Value
from django.db.models.sql.compiler import SQLCompiler

ERRORS_KEPT = 100
"""The latest ones: a job without an end of attempts may fail for a day."""

POSTGRESQL = "jsonb_path_query_array(%(expressions)s::jsonb, '$[last - {most} to last]')"
"""In its lax mode, which is the default, a jsonpath clips subscripts that are out of range."""
SQLITE = """(
    SELECT json_group_array(json(value)) FROM json_each(json_insert({errors}, '$[#]', json({error})))
    WHERE key > json_array_length({errors}) - {kept}
)"""


class AttemptError(TypedDict):
    """What is kept of a failed attempt; at is an RFC 3339 time. The traceback is for operators only."""

    attempt: int
    at: str
    type: str
    message: str
    traceback: str


def appended(errors: Sequence[AttemptError], error: AttemptError) -> list[AttemptError]:
    """What the errors are after another one."""
    return [*errors, error][-ERRORS_KEPT:]


class Appended(Func):
    """As appended(), computed by the database from the column `errors`: for an UPDATE."""

    def __init__(self, error: AttemptError) -> None:
        super().__init__(F("errors"), Value(json.dumps(error)), output_field=JSONField())

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        template = POSTGRESQL.format(most=ERRORS_KEPT - 1)
        return self.as_sql(compiler, connection, template=template, arg_joiner=" || ", **context)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        (errors, _), (error, params) = map(compiler.compile, self.source_expressions)
        return SQLITE.format(errors=errors, error=error, kept=ERRORS_KEPT), params
