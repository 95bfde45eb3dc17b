"""Its own worker command with two processes; each runs one task at a time and looks once a second when idle (its
defaults). Django's own tasks, psycopg 3 with persistent connections. It needs Python 3.12."""

from typing import Any

import django
from django.core.management import call_command

django.setup()

from django.tasks import task  # noqa: E402
from django_ox import bulk  # noqa: E402
from django_ox.models import OxTask  # noqa: E402

from benchmarks import work  # noqa: E402


@task
def noop() -> int:
    return work.noop()


@task
def tell_start(path: str) -> int:
    return work.tell_start(path)


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    call_command("flush", interactive=False, verbosity=0)


def enqueue() -> Any:
    return noop.enqueue().id


def enqueue_many(count: int) -> None:
    bulk.enqueue_many(noop, [((), {})] * count)


def stored() -> int:
    return int(OxTask.objects.filter(status=OxTask.Status.SUCCESSFUL, task_path=noop.module_path).count())


def result(handle: Any) -> object:
    return noop.get_result(handle).return_value


def probe(path: str) -> None:
    tell_start.enqueue(path)
