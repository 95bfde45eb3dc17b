"""Its own worker command; each worker process runs one task at a time and looks once a second when idle (its default).
Tasks of the package django-tasks, psycopg2 with persistent connections."""

from typing import Any

import django
from django.core.management import call_command

django.setup()

from django_tasks import task  # noqa: E402
from django_tasks_db.models import DBTaskResult  # noqa: E402

from benchmarks import work  # noqa: E402


@task()
def noop() -> int:
    return work.noop()


@task()
def tell_start(path: str) -> int:
    return work.tell_start(path)


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    call_command("flush", interactive=False, verbosity=0)


def enqueue() -> Any:
    return noop.enqueue().id


def stored() -> int:
    return int(DBTaskResult.objects.successful().filter(task_path=noop.module_path).count())


def result(handle: Any) -> object:
    return noop.get_result(handle).return_value


def probe(path: str) -> None:
    tell_start.enqueue(path)
