"""Notifies the broker of new jobs once their rows are committed: one notification per transaction."""

import threading
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import structlog
from django.db import transaction
from django_q.brokers import get_broker

from jobs.models import Job
from rest import outage

log = structlog.get_logger(__name__)


class _Pending(threading.local):
    """The jobs that this thread's transaction notifies of when it commits."""

    jobs: list[Job]

    def __init__(self) -> None:
        self.jobs = []


_pending = _Pending()


def notify(jobs: Sequence[Job]) -> None:
    """Wake workers for these jobs when the transaction commits. Raises nothing if the broker is unreachable."""
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        _notify_now(list(jobs))
        return
    if not connection.run_on_commit:
        _pending.jobs = []  # left over from a transaction that was rolled back
    _pending.jobs += jobs
    # A savepoint that is rolled back drops its hook, so each call registers one; the first to run notifies for all.
    transaction.on_commit(partial(_notify_now, _pending.jobs))


def _notify_now(jobs: list[Job]) -> None:
    """Swallows whatever the broker raises: the rows are stored, and workers find them without it."""
    if not jobs:
        return
    try:
        _broker().notify(jobs)
    except Exception as error:
        if not outage.note(error, outage.broker):
            log.warning("broker_call_failed", exc_info=True)
    jobs.clear()


@cache
def _broker() -> Any:
    return get_broker()
