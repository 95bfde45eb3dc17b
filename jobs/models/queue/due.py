"""Which jobs are due: the conditions of claims, of their partial indexes (Job.Meta), and of those who count jobs.

They are written here only. A statement in SQL takes their text from condition_sql().

A job's pool says which sort of worker claims it: empty for kinds that run in a worker's main thread, otherwise the name
of its kind, whose threads in the I/O workers are a pool. All remote kinds have one pool, from which a remote worker
claims the jobs of its own user. So every claim finds its jobs at the head of an index, whatever else waits.
"""

from datetime import timedelta
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Q
from django.db.models.sql import Query

from jobs.models.states import Status
from jobs.registry import REMOTE_POOL

STARVED_AFTER = timedelta(seconds=10)
"""How long a due job is passed over for higher priorities before a claim by age takes it."""

MAIN_THREAD = ""
"""The pool of kinds without threads=."""

# The second half of the first three is always true and ties the query to its own index. Otherwise, where statistics
# from a quiet hour say that hardly anything is queued, the planner takes any of these indexes and sorts all waiting
# jobs at every claim.
BY_PRIORITY = Q(status=Status.QUEUED, priority__gte=-(2**15))
BY_PRIORITY_IN_QUEUE = Q(status=Status.QUEUED, priority__lte=2**15 - 1)
BY_AGE = Q(status=Status.QUEUED, attempt__gte=0)
BY_OWNER = Q(status=Status.QUEUED, pool=REMOTE_POOL)


def due(*, by_age: bool, in_one_queue: bool) -> Q:
    """The condition of a claim by age or by priority, in one queue or in several."""
    if by_age:
        return BY_AGE
    return BY_PRIORITY_IN_QUEUE if in_one_queue else BY_PRIORITY


@cache
def due_sql(model: Any, *, by_age: bool, in_one_queue: bool) -> str:
    """due() as SQL."""
    return condition_sql(model, due(by_age=by_age, in_one_queue=in_one_queue))


def condition_sql(model: Any, condition: Q) -> str:
    """The condition as it stands in a partial index: without the table's name, and with its constants in the text."""
    query = Query(model, alias_cols=False)
    compiler = query.get_compiler(connection=connections[DEFAULT_DB_ALIAS])
    text, constants = query.build_where(condition).as_sql(compiler, connections[DEFAULT_DB_ALIAS])
    return str(text) % tuple(f"'{value}'" if isinstance(value, str) else value for value in constants)
