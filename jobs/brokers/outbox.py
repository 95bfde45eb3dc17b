"""An outbox for scheduled tasks when the broker is not the database: django-q's queue table holds them until sent.

So a schedule and its task are stored in one transaction, and no broker is called inside it.
"""

from datetime import timedelta

import structlog
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import OrmQ

from rest import outage

log = structlog.get_logger(__name__)

PREFIX = "outbox:"
"""Prefix of a row's key; the name of the task's queue follows."""
LEASE = timedelta(seconds=30)
"""How long a row is reserved for the cluster that forwards it, which may die before it deletes the row."""


class Outbox:
    """Takes tasks for one queue, with the enqueue() of a django-q broker."""

    def __init__(self, queue: str) -> None:
        self.list_key = f"{PREFIX}{queue}"

    def enqueue(self, task: str) -> int:
        row: OrmQ = OrmQ.objects.create(key=self.list_key, payload=task, lock=timezone.now())
        return int(row.pk)


def forward() -> int:
    """Send the outbox's tasks to their brokers; returns how many. A task that a broker refuses stays for later."""
    count = 0
    for row in OrmQ.objects.filter(key__startswith=PREFIX, lock__lte=timezone.now()).order_by("pk"):
        if not OrmQ.objects.filter(pk=row.pk, lock=row.lock).update(lock=timezone.now() + LEASE):
            continue
        try:
            get_broker(row.key.removeprefix(PREFIX)).enqueue(row.payload)
        except Exception as error:
            if not outage.note(error, outage.broker):
                log.warning("broker_call_failed", exc_info=True)
            OrmQ.objects.filter(pk=row.pk).update(lock=row.lock)
            break
        row.delete()
        count += 1
    return count
