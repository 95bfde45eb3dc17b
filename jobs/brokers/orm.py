"""The default broker: the database. PostgreSQL notifies idle workers of new jobs; on SQLite they poll."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db import connection, connections, transaction
from django.utils import timezone
from django_q.brokers.orm import ORM as DjangoQORM
from django_q.conf import Conf
from django_q.models import OrmQ

from jobs.brokers.claims import ClaimingBroker
from jobs.brokers.listener import Listener
from jobs.models import Job
from rest.pooler import is_pooled

MIN_POLL = 0.01
"""Lower bound of Q_CLUSTER's `poll` in seconds, so that an idle worker does not occupy a processor."""
DEQUEUE = """
    WITH unsynced AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    UPDATE django_q_ormq SET lock = %s WHERE id = ANY(ARRAY(
        SELECT id FROM django_q_ormq WHERE key = %s AND lock < %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    )) AND EXISTS (SELECT FROM unsynced) RETURNING id, payload
"""
"""Commits asynchronously. Only a crash of the server can lose a lock; that also cuts off the worker that holds it, and
the task is delivered again."""


class ORM(ClaimingBroker, DjangoQORM):  # type: ignore[misc]
    """django-q2's ORM broker, which also claims Job rows."""

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """django-q's messages. Unlike django-q's version, does not connect: processes must start during an outage."""
        return OrmQ.objects.using(Conf.ORM)

    def notify(self, jobs: Iterable[Job]) -> None:
        """Nothing to do: inserting the rows notifies the listeners."""

    def wait(self) -> None:
        """Return when a job may be due, or after `poll` seconds (0.2 by default)."""
        pause = max(Conf.POLL, MIN_POLL)
        if connection.vendor == "postgresql" and not is_pooled(connection.settings_dict):
            self._listener.wait(pause)
        else:
            time.sleep(pause)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Up to `bulk` plain django-q tasks, oldest first, locked for `retry` seconds. None, without waiting, if empty.

        In django-q's own broker all workers try to lock the same row, and one of them succeeds.
        """
        now = timezone.now()
        until = now + timedelta(seconds=Conf.RETRY)
        if connections[Conf.ORM].vendor == "postgresql":
            with connections[Conf.ORM].cursor() as cursor:
                cursor.execute(DEQUEUE, [until, self.list_key, now, Conf.BULK])
                return sorted(cursor.fetchall()) or None
        due = self.get_connection().filter(key=self.list_key, lock__lt=now).order_by("pk")
        # SQLite has one writer at a time: a worker that finds nothing must not wait for its lock.
        return (due.exists() and self._lock_in_transaction(due, until)) or None

    def release(self, task_id: int) -> None:
        """Make the task available to any worker at once."""
        self.get_connection().filter(pk=task_id).update(lock=timezone.now())

    def _lock_in_transaction(self, due: Any, until: datetime) -> list[tuple[int, str]]:
        with transaction.atomic(using=Conf.ORM):
            found: list[tuple[int, str]] = list(due.values_list("pk", "payload")[: Conf.BULK])
            self.get_connection().filter(pk__in=[pk for pk, _ in found]).update(lock=until)
        return found

    @cached_property
    def _listener(self) -> Listener:
        return Listener()
