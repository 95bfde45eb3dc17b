"""Which replicas are good enough to be read from: each process asks them all, once or twice a second, and says so to
the router."""

import os
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from routers import PRIMARY, pool

log = structlog.get_logger(__name__)

PROBE_EVERY = (0.5, 1.0)
"""Seconds between two rounds, drawn at random so that a crowd of processes does not ask in step."""
LAG_SECONDS = 60
LAG_BYTES = 8 * 1024 * 1024
"""A replica is late when it is behind by both: an idle primary sends nothing, and so looks late by the clock."""

ASK_REPLICA = """
    SELECT pg_is_in_recovery(),
        coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint,
        coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::float,
        EXISTS (SELECT FROM pg_stat_wal_receiver)
"""
ASK_PRIMARY = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class State:
    """What a replica said of itself. replayed: bytes of WAL. lag: seconds since its latest transaction's commit."""

    standby: bool
    replayed: int
    lag: float
    streaming: bool


def fault(state: State, written: int | None) -> str:
    """Why it must not be read from; empty if it may. written: the primary's position, None when that is out.

    Without a primary nobody streams and nobody knows how late it is: then the replicas are all there is.
    """
    if not state.standby:
        # A pool behind one address (HAProxy's read port) gives the primary when it has no replica left.
        return "" if settings.REPLICAS_FALL_BACK else "is no standby"
    if written is None:
        return ""
    if not state.streaming:
        return "receives nothing from the primary"
    if state.lag > LAG_SECONDS and written - state.replayed > LAG_BYTES:
        return f"is {state.lag:.0f} s and {written - state.replayed} bytes behind"
    return ""


class Probe:
    """A thread of its own, with connections of its own, begun with the first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._faults: dict[str, str] = {}

    def begin(self) -> None:
        """Once in every process: a fork takes no thread along."""
        if not settings.REPLICAS or self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self.round()
                threading.Thread(target=self._run, name="replicas", daemon=True).start()

    def round(self) -> None:
        """Ask all replicas and then the primary, and tell the router. The other way round, a primary that dies in
        between would take with it the replicas, which receive nothing any more."""
        states = {alias: _state_or_error(alias) for alias in settings.REPLICAS}
        written = primary_position()
        pool.primary_is_out = written is None
        for alias, state in states.items():
            self._judge(alias, state, written)

    def _run(self) -> None:
        while True:
            time.sleep(random.uniform(*PROBE_EVERY))  # noqa: S311 nothing secret hangs on it
            try:
                self.round()
            except Exception:
                log.exception("replicas_not_probed")

    def _judge(self, alias: str, state: State | Exception, written: int | None) -> None:
        if isinstance(state, Exception):
            self._put_out(alias, f"does not answer ({type(state).__name__})")
            return
        if reason := fault(state, written):
            self._put_out(alias, reason)
            return
        pool.replayed[alias] = state.replayed
        if self._faults.pop(alias, None):
            log.info("replica_back", replica=alias)

    def _put_out(self, alias: str, reason: str) -> None:
        pool.put_out(alias)
        if self._faults.get(alias) != reason:
            log.warning("replica_out", replica=alias, reason=reason)
        self._faults[alias] = reason


def _state_or_error(alias: str) -> State | Exception:
    try:
        return state_of(alias)
    except (DatabaseError, InterfaceError) as error:
        return error


def primary_position() -> int | None:
    """How far the primary has written, in bytes of WAL; None when it does not answer."""
    try:
        [position] = ask(PRIMARY, ASK_PRIMARY)
    except (DatabaseError, InterfaceError):
        return None
    return int(position)


def state_of(alias: str) -> State:
    """What this replica says of itself; raises the database's errors."""
    return State(*ask(alias, ASK_REPLICA))


def answers(alias: str) -> bool:
    try:
        ask(alias, "SELECT 1")
    except (DatabaseError, InterfaceError):
        return False
    return True


def ask(alias: str, question: str, *values: Any) -> tuple[Any, ...]:
    """The first row of the answer. A kept connection may have been cut by a balancer that leads elsewhere from now on:
    then a new one is asked."""
    if connections[alias].connection is not None:
        with suppress(DatabaseError, InterfaceError):
            return _row(alias, question, values)
    return _row(alias, question, values)


def _row(alias: str, question: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    connection = connections[alias]
    try:
        with connection.cursor() as cursor:
            cursor.execute(question, values or None)
            row: tuple[Any, ...] = cursor.fetchone()
            return row
    except BaseException:
        connection.close()
        raise


probe = Probe()
