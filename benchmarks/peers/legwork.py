"""Legwork with its default settings: every job is a validated row with its state, attempts, lease and result, in
PostgreSQL, whatever the broker is."""

import time
from contextlib import closing
from typing import Any

import django
import psycopg2
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

django.setup()

from django.contrib.auth.models import User  # noqa: E402

from benchmarks.mails import SUBJECT, TEXT, addresses  # noqa: E402
from jobs.models import Job  # noqa: E402
from jobs.models.ids import new_id  # noqa: E402
from jobs.models.queue.sql_postgresql import array_literal, insert_statement  # noqa: E402
from jobs.submit import build, submit, submit_many  # noqa: E402
from mail.models import Message  # noqa: E402
from mail.submit import build_draft, store  # noqa: E402


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    call_command("flush", interactive=False, verbosity=0)


def enqueue() -> Any:
    return submit("bench.noop").pk


def insert_bare(count: int) -> float:
    """Insert so many rows like those of enqueue(), each committed, by the same prepared INSERT but without Django.

    Returns the seconds that it took.
    """
    fields, statement = insert_statement(Job, connection.alias)
    job, places = build("bench.noop"), tuple(f"${place}" for place in range(1, len(fields) + 1))
    execute = f"EXECUTE bare ({', '.join(['%s'] * len(fields))})"
    job.params = "{}"
    driver = psycopg2.connect(**connection.get_connection_params())
    driver.autocommit = True
    with closing(driver), driver.cursor() as cursor:
        cursor.execute(f"PREPARE bare AS {statement % places}")
        began = time.monotonic()
        for _ in range(count):
            job.pk = new_id()
            cursor.execute(execute, [array_literal([getattr(job, field.attname)]) for field in fields])
        return time.monotonic() - began


def enqueue_many(count: int) -> None:
    submit_many("bench.noop", [{}] * count)


def enqueue_kind(kind: str, count: int, owner: str = "") -> None:
    """Enqueue in requests of 500 jobs, so that at most 500 jobs share a run_at."""
    user = User.objects.get_or_create(username=owner)[0] if owner else None
    for size in [500] * (count // 500) + [count % 500]:
        submit_many(kind, [{}] * size, user=user)


def stored() -> int:
    return Job.objects.filter(status=Job.Status.SUCCEEDED, kind="bench.noop").count()


def result(handle: Any) -> object:
    return Job.objects.get(pk=handle).result


def probe(path: str) -> None:
    submit("bench.tell_start", {"path": path})


def enqueue_naps(seconds: list[float]) -> None:
    for each in seconds:
        submit("bench.nap", {"seconds": each})


def running_naps() -> int:
    return Job.objects.filter(status=Job.Status.RUNNING, kind="bench.nap").count()


def unfinished_naps() -> int:
    return Job.objects.unfinished().filter(kind="bench.nap").count()


def newest() -> str:
    """The id of the newest job: later ones have higher ids."""
    return str(Job.objects.values_list("pk", flat=True).latest("pk"))


def submit_mails(count: int) -> None:
    sender = "Legwork <legwork@mg.example.org>"
    mails = [Message(to=to, address=to, sender=sender, subject=SUBJECT, text=TEXT) for to in addresses(count)]
    store([build_draft(message, now=timezone.now()) for message in mails])
