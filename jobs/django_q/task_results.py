"""Saves the results of django-q tasks as django-q's monitor does: in its Task table, or in its cache.

Unlike with django-q, several workers save at the same time: see save_cached(), and prune() for save_limit.
"""

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django_q.brokers import Broker
from django_q.conf import Conf
from django_q.models import Success
from django_q.models import Task as Record
from django_q.signing import SignedPackage
from django_q.tasks import async_chain
from django_q.utils import get_func_repr

from jobs.django_q.task_package import Task

log = structlog.get_logger(__name__)

LOCK_EXPIRES = 30
"""Seconds after which the lock of a group is released if its worker has died."""
LOCK_POLL = 0.005
"""Seconds between two tries to lock a group."""
BATCH = 500
"""Rows per DELETE."""


def save(task: Task, broker: Broker) -> int:
    """Save the result, and enqueue the next task of its chain. Returns the number of attempts so far."""
    attempts = save_cached(task, broker) if task.get("cached") else save_record(task)
    # A failed task has started the rest of its chain at its first attempt.
    if task.get("chain") and (task["success"] or attempts <= 1):
        async_chain(
            list(task["chain"]),
            group=task["group"],
            cached=task.get("cached", False),
            sync=task.get("sync", False),
            broker=broker,
        )
    return attempts


def save_record(task: Task) -> int:
    """Save to the Task table, unless it is a success and `save` or save_limit say not to keep those."""
    if task["success"] and not task.get("save", Conf.SAVE_LIMIT >= 0):
        return 1
    record = Record.objects.filter(pk=task["id"]).first()
    if record is None:
        record = _new_record(task)
    elif record.success:
        return int(record.attempt_count)
    record.stopped, record.result, record.success = task["stopped"], storable(task), task["success"]
    record.attempt_count += 1
    record.save(force_insert=record._state.adding)
    return int(record.attempt_count)


def storable(task: Task) -> Any:
    """The result. If it cannot be pickled, the task becomes a failure that says so."""
    try:
        pickle.dumps(task["result"])
    except Exception as error:
        task["success"] = False
        task["ack_failure"] = True  # another run would end the same way
        task["result"] = f"The result cannot be stored: {type(error).__name__}: {error}"
    return task["result"]


def _new_record(task: Task) -> Record:
    return Record(
        id=task["id"],
        name=task["name"],
        func=get_func_repr(task["func"]),
        hook=task.get("hook"),
        args=task["args"],
        kwargs=task["kwargs"],
        cluster=task.get("cluster"),
        started=task["started"],
        group=task.get("group"),
        attempt_count=0,
    )


def save_cached(task: Task, broker: Broker) -> int:
    """Save to the cache, and add it to its group there. The last task of an Iter saves the results of all.

    A lock in the cache makes sure that one worker at a time changes the group.
    """
    storable(task)
    group = task.get("group")
    if not group:
        return _cache(task, broker)
    with _locked(broker, group):
        attempts = _cache(task, broker)
        members = _add_member(task, broker, group)
        if task.get("iter_count") and len(members) >= task["iter_count"]:
            _save_iter(task, broker, group, members)
    return attempts


def _cache(task: Task, broker: Broker) -> int:
    key, timeout = _key(broker, task["id"]), _timeout(task)
    before = broker.cache.get(key)
    task["attempt_count"] = 1 + (SignedPackage.loads(before).get("attempt_count", 1) if before else 0)
    broker.cache.set(key, SignedPackage.dumps(task), timeout)
    return int(task["attempt_count"])


def _add_member(task: Task, broker: Broker, group: str) -> list[str]:
    """Add this task to the group; returns the keys of all the group's results."""
    key = _key(broker, f"{group}:keys")
    members: list[str] = broker.cache.get(key) or []
    if (own := _key(broker, task["id"])) not in members:
        members.append(own)
    broker.cache.set(key, members, _timeout(task))
    return members


def _save_iter(task: Task, broker: Broker, group: str, members: list[str]) -> None:
    """Replace the results of an Iter's tasks by one result for the whole, under the Iter's id."""
    arguments = _key(broker, f"{group}:args")
    packages = broker.cache.get_many([*members, arguments])
    whole = {name: value for name, value in task.items() if name not in ("iter_count", "iter_cached", "group")}
    whole |= {
        "id": group,
        "args": SignedPackage.loads(packages[arguments]),
        "result": [SignedPackage.loads(packages[member])["result"] for member in members],
        "cached": task.get("iter_cached", False),
    }
    if whole["cached"]:
        _cache(whole, broker)
    else:
        save_record(whole)
    broker.cache.delete_many([*members, _key(broker, f"{group}:keys"), arguments])


def _key(broker: Broker, name: str) -> str:
    """The key that django-q's result_cached() reads."""
    return f"{broker.list_key}:{name}"


def _timeout(task: Task) -> int | None:
    """Seconds for which the cache keeps the result; None (cached=True) is for ever."""
    return None if task["cached"] is True else int(task["cached"])


@contextmanager
def _locked(broker: Broker, group: str) -> Iterator[None]:
    key = _key(broker, f"{group}:lock")
    while not broker.cache.add(key, 1, LOCK_EXPIRES):
        time.sleep(LOCK_POLL)
    try:
        yield
    finally:
        broker.cache.delete(key)


def prune() -> int:
    """Delete the oldest successes beyond save_limit (for each save_limit_per, if set); returns how many."""
    if Conf.SAVE_LIMIT <= 0:
        return 0
    partition = [F(Conf.SAVE_LIMIT_PER)] if Conf.SAVE_LIMIT_PER in ("group", "name", "func") else None
    place = Window(RowNumber(), partition_by=partition, order_by=[F("stopped").desc()])
    ranked = Success.objects.order_by().annotate(place=place).filter(place__gt=Conf.SAVE_LIMIT)
    superfluous = list(ranked.values_list("pk", flat=True))
    for start in range(0, len(superfluous), BATCH):
        Record.objects.filter(pk__in=superfluous[start : start + BATCH]).delete()
    return len(superfluous)
