"""The two writes around calls to providers, each as one statement for PostgreSQL, of one message or of many.

Messages are locked before their attempts, as events lock them; otherwise the two could wait for each other.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from mail.models.attempt import Attempt
from mail.status import PENDING, Status, outranked_by

BEGIN = """
    WITH called AS (SELECT * FROM unnest(%(messages)s::uuid[], %(attempts)s::uuid[], %(providers)s::text[],
                                         %(services)s::text[], %(domains)s::text[], %(at)s::timestamptz[])
                    AS called (message, attempt, provider, service, domain, at)),
    taken AS (UPDATE mail_message SET status = %(sending)s
              WHERE id IN (SELECT id FROM mail_message
                           WHERE id = ANY(%(messages)s::uuid[]) AND status = ANY(%(pending)s) AND NOT awaits_release
                           ORDER BY id FOR NO KEY UPDATE {skip_locked})
              RETURNING id)
    INSERT INTO mail_attempt (id, message_id, provider, service, domain, started_at,
                              outcome, failure_class, detail, provider_message_id)
    SELECT attempt, message, provider, service, domain, at, '', '', '', '' FROM called JOIN taken ON id = message
    {on_conflict}
    RETURNING id
"""
BEGIN_ONE = BEGIN.format(skip_locked="", on_conflict="")
BEGIN_FREE = BEGIN.format(skip_locked="SKIP LOCKED", on_conflict="ON CONFLICT DO NOTHING")

ACCEPT = """
    WITH called AS (SELECT * FROM unnest(%(messages)s::uuid[], %(attempts)s::uuid[], %(ids)s::text[])
                    AS called (message, attempt, provider_message_id)),
    locked AS MATERIALIZED (SELECT id FROM mail_message WHERE id = ANY(%(messages)s::uuid[])
                            ORDER BY id FOR NO KEY UPDATE),
    settled AS (UPDATE mail_attempt SET outcome = 'accepted', finished_at = now(), failure_class = '', detail = '',
                       provider_message_id = called.provider_message_id
                FROM locked JOIN called ON message = locked.id
                WHERE mail_attempt.id = attempt AND outcome <> 'accepted'
                RETURNING message_id, provider)
    UPDATE mail_message SET provider = settled.provider,
           sent_at = coalesce(sent_at, now()),
           status = CASE WHEN status = ANY(%(outranked)s) THEN %(sent)s ELSE status END,
           finished_at = CASE WHEN status = ANY(%(outranked)s) THEN NULL ELSE finished_at END,
           failure = CASE WHEN status = ANY(%(outranked)s) THEN NULL ELSE failure END
    FROM settled WHERE id = settled.message_id
    RETURNING id, status
"""


def begin_attempt(attempt: Attempt) -> bool:
    """Store an attempt, and its message as being sent; False if the message is not pending, or awaits its release.

    Raises IntegrityError if another attempt is under way.
    """
    return bool(_begin(BEGIN_ONE, [attempt]))


def begin_attempts(attempts: Sequence[Attempt]) -> set[UUID]:
    """As begin_attempt() for many; the ids of those that began. What somebody else works on at the moment does not."""
    return _begin(BEGIN_FREE, attempts) if attempts else set()


def accept(accepted: Sequence[tuple[Attempt, str]]) -> dict[UUID, str]:
    """Message.accept() for many attempts, of one message each, with the providers' ids.

    Returns the messages' new statuses, without those that were accepted before.
    """
    values: dict[str, Any] = {
        "messages": [attempt.message_id for attempt, _ in accepted],
        "attempts": [attempt.pk for attempt, _ in accepted],
        "ids": [provider_message_id for _, provider_message_id in accepted],
    }
    with connection.cursor() as cursor:
        cursor.execute(ACCEPT, values | {"sent": Status.SENT, "outranked": list(outranked_by(Status.SENT))})
        return dict(cursor.fetchall())


def _begin(statement: str, attempts: Sequence[Attempt]) -> set[UUID]:
    values: dict[str, Any] = {
        "messages": [attempt.message_id for attempt in attempts],
        "attempts": [attempt.pk for attempt in attempts],
        "providers": [attempt.provider for attempt in attempts],
        "services": [attempt.service for attempt in attempts],
        "domains": [attempt.domain for attempt in attempts],
        "at": [attempt.started_at for attempt in attempts],
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, values | {"sending": Status.SENDING, "pending": list(PENDING)})
        return {pk for (pk,) in cursor.fetchall()}
