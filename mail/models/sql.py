"""Statements of the sending path as SQL: the two writes around each call, and queries that are compiled once."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models import Expression

from mail.models.attempt import Attempt
from mail.status import PENDING, Status, outranked_by

BEGIN = """
    WITH taken AS (UPDATE mail_message SET status = %(sending)s WHERE id = %(message)s AND status = ANY(%(pending)s)
                   RETURNING id)
    INSERT INTO mail_attempt (id, message_id, provider, service, domain, started_at,
                              outcome, failure_class, detail, provider_message_id)
    SELECT %(attempt)s, id, %(provider)s, %(service)s, %(domain)s, %(at)s, '', '', '', '' FROM taken
"""

ACCEPT = """
    WITH settled AS (UPDATE mail_attempt SET outcome = 'accepted', finished_at = now(), failure_class = '', detail = '',
                            provider_message_id = %(provider_message_id)s
                     WHERE id = %(attempt)s AND outcome <> 'accepted'
                     RETURNING message_id)
    UPDATE mail_message SET provider = %(provider)s,
           sent_at = coalesce(sent_at, now()),
           status = CASE WHEN status = ANY(%(outranked)s) THEN %(sent)s ELSE status END,
           finished_at = CASE WHEN status = ANY(%(outranked)s) THEN NULL ELSE finished_at END,
           failure = CASE WHEN status = ANY(%(outranked)s) THEN NULL ELSE failure END
    FROM settled WHERE id = settled.message_id
    RETURNING status
"""


def begin_attempt(attempt: Attempt) -> bool:
    """Message.begin_attempt in one statement, for PostgreSQL; False if the message is not pending."""
    values: dict[str, Any] = {"message": attempt.message_id, "attempt": attempt.pk, "at": attempt.started_at}
    values |= {"provider": attempt.provider, "service": attempt.service, "domain": attempt.domain}
    with connection.cursor() as cursor:
        cursor.execute(BEGIN, values | {"sending": Status.SENDING, "pending": list(PENDING)})
        return bool(cursor.rowcount)


def accept(attempt_id: UUID, provider: str, provider_message_id: str) -> str:
    """Message.accept in one statement, for PostgreSQL; the message's new status, empty if it was accepted before."""
    values: dict[str, Any] = {"attempt": attempt_id, "provider": provider, "provider_message_id": provider_message_id}
    with connection.cursor() as cursor:
        cursor.execute(ACCEPT, values | {"sent": Status.SENT, "outranked": list(outranked_by(Status.SENT))})
        row = cursor.fetchone()
    return str(row[0]) if row else ""


class CompiledQuery:
    """A query with one parameter, compiled once: Django takes longer to compile it than the database to answer."""

    def __init__(self, build: Callable[[Any], models.QuerySet[Any, Any]], field: "models.Field[Any, Any]") -> None:
        """build: makes the query from the expression that stands for the parameter. field: of the parameter."""
        self._build, self._field = build, field
        self._by_vendor: dict[str, tuple[str, Sequence[object]]] = {}

    def sql(self, value: object) -> tuple[str, list[Any]]:
        """The statement and its parameters, for this value."""
        if connection.vendor not in self._by_vendor:
            self._by_vendor[connection.vendor] = self._build(_Placeholder()).query.sql_with_params()
        statement, params = self._by_vendor[connection.vendor]
        given = self._field.get_db_prep_value(value, connection)
        return statement, [given if isinstance(param, _Placeholder) else param for param in params]

    def first(self, value: object) -> tuple[Any, ...] | None:
        """The first row, as the driver returns it."""
        with connection.cursor() as cursor:
            cursor.execute(*self.sql(value))
            row: tuple[Any, ...] | None = cursor.fetchone()
        return row


class _Placeholder(Expression):
    """Stands for the parameter: compiles to %s, with itself as the value."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", [self]
