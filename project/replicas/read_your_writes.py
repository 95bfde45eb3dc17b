"""Read your own writes, as GitLab does: by the position of the primary's write-ahead log after a user's last write.

The shared cache keeps that position for each user. The user's reads need a replica that has replayed as much.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connections

from project.replicas import probe
from project.replicas.replica_pool import MAX_LAG_SECONDS
from rest import outage
from routers import PRIMARY, pool, route

log = structlog.get_logger(__name__)

KEPT = int(MAX_LAG_SECONDS)
"""Seconds. A replica that lags by more is not read from, so all others have replayed what is forgotten here."""
UNKNOWN = 2**63 - 1
"""The position after a write if the primary could not be asked. It is replaced at the user's next write."""

ASK_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
HAS_REPLAYED = """
    SELECT NOT pg_is_in_recovery()
        OR EXISTS (SELECT FROM pg_stat_wal_receiver) AND pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') >= %s
"""
"""A standby without a WAL receiver may be on an old timeline, where the same position means other data."""


def record_write(user: Any) -> None:
    """After a request that may have written: keep the primary's position for this user's next reads.

    Called whatever the response was: a request that failed may have committed something before.
    """
    if user is not None and user.is_authenticated:
        record_writes([user.pk])


def record_writes(user_ids: Iterable[int]) -> None:
    """record_write() for many users, and for users about whom others have written."""
    if not settings.REPLICAS:
        return
    position = _position()
    for key in map(position_key, user_ids):
        try:
            before = cache.get(key, 0)
            # Of two overlapping requests the later position counts, whichever is stored first.
            cache.set(key, position if before == UNKNOWN else max(position, before), KEPT)
        except Exception as error:
            if not outage.cache.note(error):
                log.warning("cache_call_failed", exc_info=True)


def _position() -> int:
    try:
        with connections[PRIMARY].cursor() as cursor:
            cursor.execute(ASK_POSITION)
            [position] = cursor.fetchone()
    except (DatabaseError, InterfaceError) as error:
        if not outage.database.note(error):
            log.warning("position_unknown", exc_info=True)
        return UNKNOWN
    pool.primary_is_out = False
    return int(position)


def require_own_writes(user_id: int) -> bool:
    """From here on this request needs the user's latest writes. True if its reads moved to another database."""
    current = route()
    if not current.may_use_replicas:
        return False
    before = current.chosen
    try:
        current.position = cache.get(position_key(user_id), 0)
    except Exception as error:
        if not outage.cache.note(error):
            log.warning("cache_call_failed", exc_info=True)
        current.may_use_replicas = pool.primary_is_out
        return before not in ("", PRIMARY) and not current.may_use_replicas
    if current.position and not (before and _has_replayed(before, current.position)):
        current.chosen = _caught_up(current.position)
    return before not in ("", current.chosen)


def _caught_up(position: int) -> str:
    """A replica that has replayed so much, else the primary. If the primary is out, any replica."""
    chosen = pool.choose(position)
    if chosen != PRIMARY and _has_replayed(chosen, position):
        return chosen
    if probe.primary_is_available():
        return PRIMARY
    route().position = 0
    return pool.choose(0)


def _has_replayed(alias: str, position: int) -> bool:
    """Asks the replica: behind a balancer, the probe may have asked another server.

    While the primary is out no replica streams, so the probe's latest answer is used.
    """
    if alias == PRIMARY:
        return True
    if pool.primary_is_out:
        return pool.replayed.get(alias, 0) >= position
    try:
        return bool(probe.ask(alias, HAS_REPLAYED, position)[0])
    except (DatabaseError, InterfaceError):
        pool.eject(alias)
        return False


def position_key(user_id: int) -> str:
    """The key in the shared cache of the position of this user's last write."""
    return f"written:{user_id}"
