"""Telling the broker of new jobs, once their rows are committed."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from django.db import transaction
from django_q.brokers import get_broker

from jobs.models import Job


def announce(jobs: Sequence[Job]) -> None:
    """Wake workers for these jobs when the transaction commits; the broker may be away, the rows are not lost."""
    transaction.on_commit(partial(_tell, jobs))


def _tell(jobs: Sequence[Job]) -> None:
    _broker().announce(jobs)


@cache
def _broker() -> Any:
    return get_broker()
