"""Which replicas are good enough to be read from: each process asks them all, once or twice a second, and says so to
the router.

A server that refuses, is cut off, or takes the question and says nothing is out alike, and nobody waits for it.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from project.replicas.probe import Line, ask, hang_up, heard_from
from routers import PRIMARY, pool

log = structlog.get_logger(__name__)

PROBE_EVERY = (0.5, 1.0)
"""Seconds between two rounds, drawn at random so that a crowd of processes does not ask in step."""
LOOKS, LOOK = 15, 0.1
"""How often, and after how many seconds each, it is looked for answers before a server counts as one that gives none. A
look that comes late counts once: when this process or the whole machine has stood still, nobody else is to blame."""
LAG_SECONDS = 60
LAG_BYTES = 8 * 1024 * 1024
"""A replica is late when it is behind by both: an idle primary sends nothing, and so looks late by the clock."""
LAG_AT_MOST = 3600.0
"""Seconds after which a replica that is behind at all is late: it does not move."""

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
    behind = written - state.replayed
    if (state.lag > LAG_SECONDS and behind > LAG_BYTES) or (state.lag > LAG_AT_MOST and behind > 0):
        return f"is {state.lag:.0f} s and {behind} bytes behind"
    return ""


class Probe:
    """A thread of its own, begun with the first request, and a line to each server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._begun = threading.Event()
        self._lines: dict[str, Line] = {}
        self._faults: dict[str, str] = {}
        self.for_requests = False
        """Whether this process answers requests. A worker can wait for a primary that stands still; they cannot."""

    def begin(self) -> None:
        """Once in every process: a fork takes no thread along. Afterwards it is known who is good."""
        if not settings.REPLICAS:
            return
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._begun, self._lines = threading.Event(), {}
                    threading.Thread(target=self._run, name="replicas", daemon=True).start()
                    self._pid = os.getpid()
        self._begun.wait(3 * LOOKS * LOOK)

    def round(self) -> None:
        """Ask all replicas and then the primary, and tell the router. The other way round, a primary that dies in
        between would take with it the replicas, which receive nothing any more."""
        states = self._answers({alias: partial(state_of, alias) for alias in settings.REPLICAS})
        written = self._answers({PRIMARY: primary_position})[PRIMARY]
        pool.primary_is_out = not isinstance(written, int)
        for alias, state in states.items():
            self._judge(alias, state, written if isinstance(written, int) else None)
        for alias, answer in (states | {PRIMARY: written}).items():
            if not isinstance(answer, TimeoutError):
                heard_from(alias)
            elif alias != PRIMARY or self.for_requests:
                hang_up(alias)

    def _answers(self, questions: dict[str, Callable[[], Any]]) -> dict[str, Any]:
        """By server; an exception is an answer, too, and TimeoutError that of who gives none."""
        asked = {alias: self._line(alias).ask(question) for alias, question in questions.items()}
        _wait_for(asked.values())
        return {alias: _said(answer) for alias, answer in asked.items()}

    def _line(self, alias: str) -> Line:
        if alias not in self._lines:
            self._lines[alias] = Line(alias)
        return self._lines[alias]

    def _run(self) -> None:
        while True:
            try:
                self.round()
            except Exception:
                log.exception("replicas_not_probed")
            self._begun.set()
            time.sleep(random.uniform(*PROBE_EVERY))  # noqa: S311 nothing secret hangs on it

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


def _wait_for(answers: "Collection[Future[Any]]") -> None:
    for _ in range(LOOKS):
        if not wait(answers, LOOK).not_done:
            return


def _said(answer: "Future[Any]") -> Any:
    if not answer.done():
        return TimeoutError()
    return answer.exception() or answer.result()


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


probe = Probe()
