"""`manage.py rbroker`: simulates devices while a qcluster runs, and prints the outcome as JSON."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from examples.rbroker.models import Refused, RemoteTask

POLL = 0.05


class Command(BaseCommand):
    help = "Simulate devices that begin, finish and miss tasks; a qcluster must be running."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--timeout", type=float, default=2.0, help="Seconds that a device has for a task.")
        parser.add_argument("--within", type=float, default=60.0, help="Seconds to wait for the qcluster.")

    def handle(self, *args: Any, timeout: float, within: float, **options: Any) -> None:
        on_time = _offered(within)
        on_time.begin("device 1", timeout)
        refused = _is_refused(on_time, "device 2", timeout)
        on_time.succeed({"lines": 3})
        late = _offered(within)
        late.begin("device 1", timeout)
        _wait_for(late, RemoteTask.Status.TIMED_OUT, within)
        on_time.refresh_from_db()
        report = {"on_time": on_time.status, "second_refused": refused, "late": late.status, "seconds": late.seconds}
        self.stdout.write(json.dumps(report))


def _offered(within: float) -> RemoteTask:
    task = RemoteTask.objects.create()
    task.offer()
    return _wait_for(task, RemoteTask.Status.OFFERED, within)


def _is_refused(task: RemoteTask, device: str, timeout: float) -> bool:
    try:
        task.begin(device, timeout)
    except Refused:
        return True
    return False


def _wait_for(task: RemoteTask, status: str, within: float) -> RemoteTask:
    until = time.monotonic() + within
    while task.status != status:
        if time.monotonic() > until:
            raise CommandError(f"Task {task.pk} is {task.status} after {within:g} s. Is qcluster running?")
        time.sleep(POLL)
        task.refresh_from_db()
    return task
