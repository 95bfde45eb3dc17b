"""The default broker: the database. PostgreSQL tells idle workers of new jobs; elsewhere they look now and then."""

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

from jobs.brokers.claims import ClaimsJobs
from jobs.brokers.listener import Listener
from jobs.models import Job

LEAST_POLL = 0.01
"""Seconds: what `poll` may be at least, so that an idle worker does not occupy a processor."""
TAKE = """
    WITH unsynced AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    UPDATE django_q_ormq SET lock = %s WHERE id = ANY(ARRAY(
        SELECT id FROM django_q_ormq WHERE key = %s AND lock < %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    )) AND EXISTS (SELECT FROM unsynced) RETURNING id, payload
"""
"""A lock that a crash of the server loses costs nothing: its worker has lost the server, and the task comes again."""


class ORM(ClaimsJobs, DjangoQORM):  # type: ignore[misc]
    """django-q2's ORM broker, and beside its messages the Job rows themselves."""

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """django-q's messages. Its own version connects, and so ended every process that began during an outage."""
        return OrmQ.objects.using(Conf.ORM)

    def announce(self, jobs: Iterable[Job]) -> None:
        """Nothing to do: the rows are the announcement."""

    def wait(self) -> None:
        """Until a job may be due: at most `poll` seconds, which are 0.2 by default."""
        pause = max(Conf.POLL, LEAST_POLL)
        if connection.vendor == "postgresql":
            self._listener.wait(pause)
        else:
            time.sleep(pause)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Up to `bulk` plain django-q tasks, oldest first, locked for `retry` seconds; None, at once, if there is none.

        django-q's own broker lets all workers try to lock the same row, of whom one succeeds.
        """
        now = timezone.now()
        until = now + timedelta(seconds=Conf.RETRY)
        if connections[Conf.ORM].vendor == "postgresql":
            return self._take(now, until) or None
        due = self.get_connection().filter(key=self.list_key, lock__lt=now).order_by("pk")
        # SQLite has one writer at a time: a worker that finds nothing must not ask for its lock.
        return (due.exists() and self._take_in_transaction(due, until)) or None

    def release(self, task_id: int) -> None:
        """Let any worker have the task again at once."""
        self.get_connection().filter(pk=task_id).update(lock=timezone.now())

    def _take(self, now: datetime, until: datetime) -> list[tuple[int, str]]:
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute(TAKE, [until, self.list_key, now, Conf.BULK])
            return sorted(cursor.fetchall())

    def _take_in_transaction(self, due: Any, until: datetime) -> list[tuple[int, str]]:
        with transaction.atomic(using=Conf.ORM):
            found: list[tuple[int, str]] = list(due.values_list("pk", "payload")[: Conf.BULK])
            self.get_connection().filter(pk__in=[pk for pk, _ in found]).update(lock=until)
        return found

    @cached_property
    def _listener(self) -> Listener:
        return Listener()
