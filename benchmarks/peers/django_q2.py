"""Results are saved in PostgreSQL with either broker: save_limit 0, since the default of 250 prunes at every task.
queue_limit 500 and bulk 50 (as its documentation advises for many short tasks), recycle practically never, scheduler
off, acknowledged after the run (its ORM broker; its Redis broker has no receipts), psycopg2 with persistent
connections, hiredis."""

from typing import Any

import django
from django.core.management import call_command

django.setup()

from django_q.brokers import get_broker  # noqa: E402
from django_q.models import Success  # noqa: E402
from django_q.tasks import async_task, result  # noqa: E402

__all__ = ["enqueue", "prepare", "probe", "result", "stored"]


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    call_command("flush", interactive=False, verbosity=0)
    get_broker().purge_queue()


def enqueue() -> Any:
    return async_task("benchmarks.work.noop")


def stored() -> int:
    return int(Success.objects.filter(func="benchmarks.work.noop").count())


def probe(path: str) -> None:
    async_task("benchmarks.work.tell_start", path)
