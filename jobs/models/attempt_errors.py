"""The errors of failed attempts: a bounded JSON list in the job's row.

The database appends to it without reading it into Python, so a job with many long errors is claimed, rescued and
finished as quickly as any other.
"""

import json
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, JSONField, Value
from django.db.models.sql.compiler import SQLCompiler

ERRORS_KEPT = 100
"""The latest ones are kept: a job with unlimited attempts may fail for days."""

POSTGRESQL = "jsonb_path_query_array(%(expressions)s::jsonb, '$[last - {most} to last]')"
"""A jsonpath in lax mode, the default, clips subscripts that are out of range."""
SQLITE = """(
    SELECT json_group_array(json(value)) FROM json_each(json_insert({errors}, '$[#]', json({error})))
    WHERE key > json_array_length({errors}) - {kept}
)"""


class AttemptError(TypedDict):
    """One failed attempt. started_at, at: its start and its end, RFC 3339. traceback: shown to operators only.

    started_at: None where the attempt was not started by a worker; absent in rows of older releases.

    public: whether the job's owner may see the message. True for the project's own error classes: messages of other
    exceptions may reveal internals.
    """

    attempt: int
    started_at: NotRequired[str | None]
    at: str
    type: str
    message: str
    traceback: str
    public: bool


def append_error(errors: Sequence[AttemptError], error: AttemptError) -> list[AttemptError]:
    """The last ERRORS_KEPT errors, with this one at the end."""
    return [*errors, error][-ERRORS_KEPT:]


class AppendError(Func):
    """append_error() as an expression over the column `errors`, for an UPDATE."""

    def __init__(self, error: AttemptError) -> None:
        super().__init__(F("errors"), Value(json.dumps(error)), output_field=JSONField())

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        template = POSTGRESQL.format(most=ERRORS_KEPT - 1)
        return self.as_sql(compiler, connection, template=template, arg_joiner=" || ", **context)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        (errors, _), (error, params) = map(compiler.compile, self.source_expressions)
        return SQLITE.format(errors=errors, error=error, kept=ERRORS_KEPT), params
