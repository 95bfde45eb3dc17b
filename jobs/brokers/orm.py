"""The default broker: the database. Due Job rows are claimed; plain django-q messages are served as ever."""

from django.db import close_old_connections
from django_q.brokers.orm import ORM as DjangoQORM
from django_q.conf import Conf

from jobs.models import Job


class ORM(DjangoQORM):  # type: ignore[misc]
    """django-q2's ORM broker, and beside its messages the Job rows themselves."""

    @property
    def queues(self) -> list[str] | None:
        """The queues that this cluster serves: all (None), unless it was started under another name."""
        return None if self.list_key == Conf.PREFIX else [self.list_key]

    def claim(self, worker: str, limit: int = 1) -> list[Job]:
        """Take due jobs for this worker, best first."""
        close_old_connections()
        Job.objects.queue_what_is_due()
        return Job.objects.claim(worker, limit=limit, queues=self.queues)
