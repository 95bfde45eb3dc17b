"""The default broker: the database. PostgreSQL tells idle workers of new jobs; elsewhere they look now and then."""

import time
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from django.db import connection
from django_q.brokers.orm import ORM as DjangoQORM
from django_q.conf import Conf
from django_q.models import OrmQ

from jobs.brokers.claims import ClaimsJobs
from jobs.brokers.listener import Listener
from jobs.models import Job

POLL = 0.2
"""Seconds between two looks by a worker that has nothing to do and is not told."""


class ORM(ClaimsJobs, DjangoQORM):  # type: ignore[misc]
    """django-q2's ORM broker, and beside its messages the Job rows themselves."""

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """django-q's messages. Its own version connects, and so ended every process that began during an outage."""
        return OrmQ.objects.using(Conf.ORM)

    def announce(self, jobs: Iterable[Job]) -> None:
        """Nothing to do: the rows are the announcement."""

    def wait(self) -> None:
        """Until a job may be due: at most POLL seconds."""
        if connection.vendor == "postgresql":
            self._listener.wait(POLL)
        else:
            time.sleep(POLL)

    @cached_property
    def _listener(self) -> Listener:
        return Listener()
