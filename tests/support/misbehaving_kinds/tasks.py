"""Plain django-q tasks that note in a file what became of them: one line each, even if several write at once."""

import hashlib
import json
import os
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import structlog
from django.dispatch import receiver
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import Failure, Schedule, Success, Task
from django_q.signals import post_spawn
from django_q.status import Stat
from django_q.tasks import async_chain, async_iter, async_task, result, result_group, schedule

log = structlog.get_logger(__name__)

HERE = "tests.support.misbehaving_kinds.tasks"
MANY = 40
WAIT = 120_000
"""Milliseconds to wait for a result."""


def note(file: str, line: str) -> str:
    """Append the line to the file; returns the line."""
    with open(file, "a", buffering=1) as notes:
        notes.write(f"{line}\n")
    return line


def refuse(file: str, line: str) -> None:
    note(file, line)
    raise ValueError(f"{line} is refused")


def dawdle_once(file: str, line: str) -> None:
    """The first time stay until killed; after that be quick."""
    first = not (Path(file).exists() and f"{line} on " in Path(file).read_text())
    note(file, f"{line} on {os.getpid()}")
    time.sleep(600 if first else 0)


def noted_end(task: Task) -> None:
    """A hook: it is called with the task as it was saved, and notes that beside the task's own line."""
    note(task.args[0], f"hook of {task.args[1]}: {task.success}")


def order(file: str) -> None:
    """Queue a task that works, many at once, one that fails, and two schedules: one for once, one for every minute."""
    async_task(f"{HERE}.note", file, "task", hook=f"{HERE}.noted_end")
    async_task(f"{HERE}.refuse", file, "bad task", hook=f"{HERE}.noted_end")
    for number in range(MANY):
        async_task(f"{HERE}.note", file, f"task {number}")
    schedule(f"{HERE}.note", file, "schedule", hook=f"{HERE}.noted_end")
    schedule(f"{HERE}.note", file, "schedule of every minute", schedule_type=Schedule.MINUTES, minutes=1)


def order_one(name: str, file: str, line: str) -> None:
    """Queue the task of this name, which may take ten minutes."""
    async_task(f"{HERE}.{name}", file, line, timeout=600)


def show() -> None:
    """What django-q has recorded, and how many messages its broker still holds."""
    broker = get_broker()
    successes, failures = (
        [[task.args[1], task.result, task.attempt_count] for task in model.objects.all()]
        for model in (Success, Failure)
    )
    left = broker.queue_size() + broker.lock_size()
    print(json.dumps({"successes": successes, "failures": failures, "left": left}))  # noqa: T201


def hash_for_ever() -> None:
    """Stay in C code, where no signal handler runs."""
    hashlib.pbkdf2_hmac("sha512", b"password", b"salt", 2_000_000_000)


def clean_up(file: str, line: str) -> None:
    """The first time wait to be interrupted, and note it in a finally; after that be quick."""
    first = not (Path(file).exists() and f"{line} began" in Path(file).read_text())
    note(file, f"{line} began")
    try:
        time.sleep(600 if first else 0)
    finally:
        note(file, f"{line} cleaned up")
    note(file, f"{line} ended")


def terminate_a_child() -> int | None:
    """How a process that a task has started ends when it is terminated."""
    child = get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    child.terminate()
    child.join(60)
    return child.exitcode


@receiver(post_spawn)
def log_spawn(proc_name: str, **others: Any) -> None:
    log.info("spawned", process=os.getpid(), name=proc_name)


def run_and_report() -> None:
    """Tasks of all sorts, and what django-q's own functions say of them when they have ended."""
    alone, cached = async_task("math.sqrt", 4), async_task("math.sqrt", 9, cached=60)
    for number in range(3):
        async_task("math.sqrt", number**2, group="roots")
    chain = async_chain([("math.sqrt", (16,)), ("math.sqrt", (25,))])
    iteration = async_iter("math.sqrt", [number**2 for number in range(30)])
    child = async_task(f"{HERE}.terminate_a_child")
    report = {
        "alone": result(alone, wait=WAIT),
        "cached": result(cached, wait=WAIT, cached=True),
        "group": sorted(result_group("roots", count=3, wait=WAIT)),
        "chain": sorted(result_group(chain, count=2, wait=WAIT)),
        "iter": sorted(result(iteration, wait=WAIT)),
        "child": result(child, wait=WAIT),
    }
    print(json.dumps(report))  # noqa: T201


def schedule_beside_a_broken_one() -> None:
    """The result of a CRON schedule's task."""
    Schedule.objects.bulk_create(
        [
            Schedule(func="math.sqrt", schedule_type=Schedule.CRON, cron="every full moon", next_run=timezone.now()),
            Schedule(func="math.sqrt", args="36", schedule_type=Schedule.CRON, cron="0 0 1 1 *", name="yearly"),
        ]
    )
    print(json.dumps(list(result_group("yearly", count=1, wait=WAIT))))  # noqa: T201


def show_clusters() -> None:
    """The id and the workers of each cluster that django-q's monitoring knows."""
    print(json.dumps([[str(stat.cluster_id), sorted(stat.workers)] for stat in Stat.get_all()]))  # noqa: T201
