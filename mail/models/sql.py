"""The two writes around each call to a provider, each as one statement for PostgreSQL."""

from typing import Any
from uuid import UUID

from django.db import connection

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
