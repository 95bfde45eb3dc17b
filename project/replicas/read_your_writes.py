"""Read your own writes, GitLab's way: by how far the primary's write-ahead log had come when a user had written.

The shared cache keeps that position for each user, and reads of theirs need a replica that has replayed as much.
"""

from typing import Any

import structlog
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connections

from project.replicas import probe, replica_pool
from routers import PRIMARY, pool, route

log = structlog.get_logger(__name__)

KEPT = int(replica_pool.LAG_AT_MOST)
"""Seconds: no replica is read from that is late by more, and so none that has not replayed what was forgotten here."""
UNKNOWN = 2**63 - 1
"""The position of a write that may have happened while nobody could ask for one: its user's next write tells."""

ASK_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
HAS_REPLAYED = """
    SELECT NOT pg_is_in_recovery()
        OR EXISTS (SELECT FROM pg_stat_wal_receiver) AND pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') >= %s
"""
"""Who receives nothing may still follow a primary that another one has replaced: the same position means other data."""


def remember(user: Any) -> None:
    """Note how far the primary has written, now that all is committed: this user's reads need that much.

    Whatever the answer to the request was: one that failed may have committed something before.
    """
    if user is None or not user.is_authenticated:
        return
    position, key = _position(), _key(user.pk)
    try:
        before = cache.get(key, 0)
        # Of two requests at once the later write counts, whichever notes it first.
        cache.set(key, position if before == UNKNOWN else max(position, before), KEPT)
    except Exception:
        log.warning("cache_unavailable", exc_info=True)


def _position() -> int:
    try:
        with connections[PRIMARY].cursor() as cursor:
            cursor.execute(ASK_POSITION)
            [position] = cursor.fetchone()
    except (DatabaseError, InterfaceError):
        log.warning("position_unknown", exc_info=True)
        return UNKNOWN
    pool.primary_is_out = False
    return int(position)


def follow(user_id: int) -> bool:
    """From here on this request needs what the user has written lately; whether it now reads from elsewhere."""
    here = route()
    if not here.may_use_replicas:
        return False
    before = here.chosen
    try:
        here.position = cache.get(_key(user_id), 0)
    except Exception:
        log.warning("cache_unavailable", exc_info=True)
        here.may_use_replicas = pool.primary_is_out
        return before not in ("", PRIMARY) and not here.may_use_replicas
    if here.position and not (before and _shows(before, here.position)):
        here.chosen = _caught_up(here.position)
    return before not in ("", here.chosen)


def _caught_up(position: int) -> str:
    """A replica that has replayed so much, or else the primary; without that, whoever is left."""
    chosen = pool.choose(position)
    if chosen != PRIMARY and _shows(chosen, position):
        return chosen
    if probe.primary_is_there():
        return PRIMARY
    route().position = 0
    return pool.choose(0)


def _shows(alias: str, position: int) -> bool:
    """By its own word, for behind a balancer the probe may have asked another one; by the probe's when the primary is
    out, because then nobody streams."""
    if alias == PRIMARY:
        return True
    if pool.primary_is_out:
        return pool.replayed.get(alias, 0) >= position
    try:
        return bool(probe.ask(alias, HAS_REPLAYED, position)[0])
    except (DatabaseError, InterfaceError):
        pool.put_out(alias)
        return False


def _key(user_id: int) -> str:
    return f"written:{user_id}"
