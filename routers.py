"""Routes each query to a database: writes to the primary, reads of safe requests to a replica that is good enough.

project/replicas/middleware.py sets the route of each request; project/replicas/replica_pool.py keeps the list of good
replicas.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import connections
from django.db.models import Model

PRIMARY = "default"

PINNED = frozenset({"project.session", "jobs.cacheentry"})
"""Models that are read from the primary while it is available: a session that a replica does not have yet would log its
user out, and a cache must return what was just stored."""


@dataclass(slots=True)
class Route:
    """Where the reads of one request, job or block go.

    position: what a replica must have replayed, in bytes of WAL; 0 for any. chosen: the database of all reads on this
    route, "" before the first, so that a request reads one state of the data.
    """

    may_use_replicas: bool = False
    position: int = 0
    chosen: str = ""


@dataclass(slots=True)
class Pool:
    """The replicas that may be read from now, and the position that each has at least replayed (bytes of WAL).

    lag: seconds since the commit that each replica replayed last; without writes it grows on a good replica, too.
    ensure_probed: makes sure that this process's probe runs, which keeps the pool up to date. record_writes: for users
    whose next reads must see what has just been committed, besides the user of the request. Set in project/apps.py.
    """

    replayed: dict[str, int] = field(default_factory=dict)
    lag: dict[str, float] = field(default_factory=dict)
    primary_is_out: bool = False
    ensure_probed: Callable[[], None] = lambda: None
    record_writes: Callable[[Iterable[int]], None] = lambda user_ids: None

    def good(self, position: int = 0) -> list[str]:
        """The replicas that have replayed this position, in random order."""
        found = [alias for alias, replayed in self.replayed.copy().items() if replayed >= position]
        return random.sample(found, len(found))

    def choose(self, position: int) -> str:
        """A random replica that has replayed this position, else the primary."""
        return next(iter(self.good(position)), PRIMARY)

    def eject(self, alias: str) -> None:
        """Stop reading from a replica that has just failed. The probe puts it back when it is good again."""
        self.replayed.pop(alias, None)


pool = Pool()
"""Of this process; empty until the probe's first round."""

_route: ContextVar[Route | None] = ContextVar("route", default=None)


def route() -> Route:
    """The current route; outside of requests and blocks, the primary."""
    return _route.get() or Route()


@contextmanager
def routed(by: Route) -> Iterator[Route]:
    token = _route.set(by)
    try:
        yield by
    finally:
        _route.reset(token)


@contextmanager
def use_primary() -> Iterator[Route]:
    """Read everything in this block from the primary."""
    with routed(Route()) as inner:
        yield inner


@contextmanager
def use_replica() -> Iterator[Route]:
    """Allow replicas in this block, for code that tolerates data some seconds old. A write ends that, as always."""
    pool.ensure_probed()
    with routed(replace(route(), may_use_replicas=True, chosen="")) as inner:
        yield inner


def replica_was_read() -> bool:
    """True if this route has read from a replica, so what it read may be older than the primary."""
    return route().chosen not in ("", PRIMARY)


class PrimaryReplicaRouter:
    """The one database router of the project (Django's DATABASE_ROUTERS)."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        current = route()
        if not current.may_use_replicas or connections[PRIMARY].in_atomic_block:
            return PRIMARY
        if model._meta.label_lower in PINNED and not pool.primary_is_out:
            return PRIMARY
        if current.chosen != PRIMARY and current.chosen not in pool.replayed:
            current.chosen = pool.choose(current.position)
        return current.chosen

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """The primary, and so for all later reads of this route. Also called for select_for_update().

        Explicit, because without an answer Django writes to the database that the instance was read from.
        """
        route().may_use_replicas = False
        return PRIMARY

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        """All databases have the same rows."""
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Only on the primary; replicas replicate its schema."""
        return db == PRIMARY
