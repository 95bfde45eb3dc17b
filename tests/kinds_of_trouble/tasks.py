"""Plain django-q tasks that note in a file what became of them: one line each, whoever writes at the same time."""

import json
import os
import time
from pathlib import Path

from django_q.brokers import get_broker
from django_q.models import Failure, Schedule, Success, Task
from django_q.tasks import async_task, schedule

HERE = "tests.kinds_of_trouble.tasks"
MANY = 40


def note(file: str, line: str) -> str:
    """Write it down; the result is the line."""
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
    """One that works, many together, one that fails, and two schedules: for once, and for every minute."""
    async_task(f"{HERE}.note", file, "task", hook=f"{HERE}.noted_end")
    async_task(f"{HERE}.refuse", file, "bad task", hook=f"{HERE}.noted_end")
    for number in range(MANY):
        async_task(f"{HERE}.note", file, f"task {number}")
    schedule(f"{HERE}.note", file, "schedule", hook=f"{HERE}.noted_end")
    schedule(f"{HERE}.note", file, "schedule of every minute", schedule_type=Schedule.MINUTES, minutes=1)


def order_one(name: str, file: str, line: str) -> None:
    """The task of this name, which may take ten minutes."""
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
