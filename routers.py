"""Which database a query goes to: writes to the primary, the reads of safe requests to a replica that is good enough.

project/replicas/middleware.py says here what each request may do, and project/replicas/replica_pool.py which replicas
are good enough.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import connections
from django.db.models import Model

PRIMARY = "default"

PINNED = frozenset({"sessions.session", "jobs.cacheentry"})
"""Read from the primary while it is there: a session that a replica does not know yet would log its user out, and a
cache is expected to know what was just put into it."""


@dataclass(slots=True)
class Route:
    """Where the reads of one request, job or block go.

    may_use_replicas: replicas will do. position: what a replica must have replayed, in bytes of WAL; 0 is nothing in
    particular. chosen: the database of this route's reads, once there was one; a request sees one state of the data.
    """

    may_use_replicas: bool = False
    position: int = 0
    chosen: str = ""


@dataclass(slots=True)
class Pool:
    """The replicas that may be read from now, and what each has replayed at least (bytes of WAL).

    watch: sees to it that somebody in this process looks after all this; project/apps.py says who.
    """

    replayed: dict[str, int] = field(default_factory=dict)
    primary_is_out: bool = False
    watch: Callable[[], None] = lambda: None

    def good(self, position: int = 0) -> list[str]:
        """The replicas that have come so far, in random order."""
        found = [alias for alias, replayed in self.replayed.copy().items() if replayed >= position]
        return random.sample(found, len(found))

    def choose(self, position: int) -> str:
        """A replica at random among those that have come so far, or else the primary."""
        return next(iter(self.good(position)), PRIMARY)

    def put_out(self, alias: str) -> None:
        """Somebody has just met trouble there: nobody else need; who looks after the pool may find it good again."""
        self.replayed.pop(alias, None)


pool = Pool()
"""Of this process; nobody is in it until the first probe has found somebody good."""

_route: ContextVar[Route | None] = ContextVar("route", default=None)


def route() -> Route:
    """The present one; outside of all requests and blocks, the primary's."""
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
    """In this block everything is read from the primary."""
    with routed(Route()) as inner:
        yield inner


@contextmanager
def use_replica() -> Iterator[Route]:
    """In this block replicas will do, for whoever can live with data some seconds old. Writes end it, as ever."""
    pool.watch()
    with routed(replace(route(), may_use_replicas=True, chosen="")) as inner:
        yield inner


def replica_was_read() -> bool:
    """Whether what was read here so far may be older than what the primary has."""
    return route().chosen not in ("", PRIMARY)


class PrimaryReplicaRouter:
    """The one database router of the project (Django's DATABASE_ROUTERS)."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        here = route()
        if not here.may_use_replicas or connections[PRIMARY].in_atomic_block:
            return PRIMARY
        if model._meta.label_lower in PINNED and not pool.primary_is_out:
            return PRIMARY
        if here.chosen != PRIMARY and here.chosen not in pool.replayed:
            here.chosen = pool.choose(here.position)
        return here.chosen

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """Said outright: without an answer Django would write where the instance was read. From here on this request
        reads what it has written; select_for_update() asks here, too."""
        route().may_use_replicas = False
        return PRIMARY

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        """All databases hold the same rows."""
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Only the primary's schema is ours to change; replicas follow it."""
        return db == PRIMARY
