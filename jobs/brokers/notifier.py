"""Telling the broker of new jobs, once their rows are committed: once a transaction, however many it stores."""

import threading
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import structlog
from django.db import transaction
from django_q.brokers import get_broker

from jobs.models import Job

log = structlog.get_logger(__name__)


class _Pending(threading.local):
    """What this thread's transaction has to announce when it commits."""

    jobs: list[Job]

    def __init__(self) -> None:
        self.jobs = []


_pending = _Pending()


def announce(jobs: Sequence[Job]) -> None:
    """Wake workers for these jobs when the transaction commits; the broker may be away, the rows are not lost."""
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        _tell(list(jobs))
        return
    if not connection.run_on_commit:
        _pending.jobs = []  # what is there was rolled back
    _pending.jobs += jobs
    # Each savepoint may take its own hook along; the first one that is left speaks for all.
    transaction.on_commit(partial(_tell, _pending.jobs))


def _tell(jobs: list[Job]) -> None:
    """Nothing that a broker raises may reach a client whose job is stored."""
    if not jobs:
        return
    try:
        _broker().announce(jobs)
    except Exception:
        log.warning("broker_unavailable", exc_info=True)
    jobs.clear()


@cache
def _broker() -> Any:
    return get_broker()
