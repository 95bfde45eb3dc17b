"""The default broker: the database. PostgreSQL tells idle workers of new jobs; elsewhere they look now and then."""

from collections.abc import Iterable
from typing import Any

from django_q.brokers.orm import ORM as DjangoQORM
from django_q.conf import Conf
from django_q.models import OrmQ

from jobs import wakeup
from jobs.brokers.claims import ClaimsJobs
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
        wakeup.wait(POLL)
