"""Functions that django-q calls by name."""

import logging

from django_q.models import Task

from examples.rbroker.models import Refused, RemoteTask

log = logging.getLogger(__name__)


def offer(pk: int) -> str:
    """Make the task known to the devices."""
    RemoteTask.objects.filter(pk=pk, status=RemoteTask.Status.NEW).update(status=RemoteTask.Status.OFFERED)
    return "offered"


def time_out(pk: int) -> str:
    """End a task whose device has not reported. If it reported at the last moment, the task has succeeded."""
    try:
        RemoteTask.objects.get(pk=pk).time_out()
    except Refused as refusal:
        return str(refusal)
    return "timed out"


def note_time_out(task: Task) -> None:
    """The schedule's hook."""
    log.warning("A device was too slow: %s", task.args)
