"""The default broker: the database. Due Job rows are claimed; plain django-q messages are served as ever."""

from typing import Any

from django.db import close_old_connections
from django_q.brokers.orm import ORM as DjangoQORM
from django_q.conf import Conf
from django_q.models import OrmQ

from jobs.models import Job

NEGLECTED_EVERY = 8
"""Every eighth claim takes the job that has waited longest, so that no priority can starve another."""


class ORM(DjangoQORM):  # type: ignore[misc]
    """django-q2's ORM broker, and beside its messages the Job rows themselves."""

    _claims = 0

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """django-q's messages. Its own version connects, and so ended every process that began during an outage."""
        return OrmQ.objects.using(Conf.ORM)

    @property
    def queues(self) -> list[str] | None:
        """The queues that this cluster serves: all (None), unless it was started under another name."""
        return None if self.list_key == Conf.PREFIX else [self.list_key]

    def claim(self, worker: str, limit: int = 1) -> list[Job]:
        """Take due jobs for this worker, best first."""
        close_old_connections()
        self._claims += 1
        if self._claims % NEGLECTED_EVERY == 0 and (neglected := self._claim(worker, limit, by_age=True)):
            return neglected
        return self._claim(worker, limit, by_age=False)

    def _claim(self, worker: str, limit: int, *, by_age: bool) -> list[Job]:
        claimed: list[Job] = Job.objects.claim(worker, limit=limit, queues=self.queues, by_age=by_age)
        return claimed
