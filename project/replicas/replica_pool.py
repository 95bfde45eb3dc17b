"""Decides which replicas are good enough to read from, by what the probe learnt of them, and tells the router."""

from dataclasses import dataclass

import structlog
from django.conf import settings

from routers import pool

log = structlog.get_logger(__name__)

LAG_SECONDS = 60
LAG_BYTES = 8 * 1024 * 1024
"""A replica is late if it is behind by more than both: an idle primary sends nothing, so time alone looks like lag."""
MAX_LAG_SECONDS = 3600.0
"""A replica that is behind at all for longer than this is late: it does not replay."""


@dataclass(frozen=True, slots=True)
class State:
    """What a replica answered. replayed: bytes of WAL. lag: seconds since the commit that it replayed last."""

    standby: bool
    replayed: int
    lag: float
    streaming: bool


class ReplicaPool:
    """Updates routers.pool after each round of the probe, and logs which replicas leave and come back, and why."""

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}

    def update(self, alias: str, state: State | Exception, written: int | None) -> None:
        """state: the replica's answer, or why there was none. written: as in fault()."""
        if isinstance(state, Exception):
            self._eject(alias, f"does not answer ({type(state).__name__})")
            pool.lag.pop(alias, None)
            return
        pool.lag[alias] = state.lag
        if reason := fault(state, written):
            self._eject(alias, reason)
            return
        pool.replayed[alias] = state.replayed
        if self._faults.pop(alias, None):
            log.info("replica_back", replica=alias)

    def _eject(self, alias: str, reason: str) -> None:
        pool.eject(alias)
        if self._faults.get(alias) != reason:
            log.warning("replica_out", replica=alias, reason=reason)
        self._faults[alias] = reason


def fault(state: State, written: int | None) -> str:
    """Why the replica must not be read from; empty if it may be. written: the primary's position, None if it is out.

    Without a primary no replica streams and no lag can be known; then the replicas are all there is, and all are good.
    """
    if not state.standby:
        # An address that leads to several servers (HAProxy's read port) leads to the primary if no replica is left.
        return "" if settings.REPLICAS_FALL_BACK else "is no standby"
    if written is None:
        return ""
    if not state.streaming:
        return "receives nothing from the primary"
    behind = written - state.replayed
    if (state.lag > LAG_SECONDS and behind > LAG_BYTES) or (state.lag > MAX_LAG_SECONDS and behind > 0):
        return f"is {state.lag:.0f} s and {behind} bytes behind"
    return ""
