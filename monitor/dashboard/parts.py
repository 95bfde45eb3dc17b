"""The dashboard's parts. Each process computes a part once per interval, however many dashboards are open."""

import threading
import time
from collections.abc import Callable
from typing import Any

from monitor.checkup import live_checks
from monitor.dashboard import database, figures, leases
from monitor.dashboard.clusters import cluster_states
from monitor.dashboard.counts import unfinished_counts
from monitor.dashboard.facts import Facts

RUNNING_SHOWN = 12


class Cached:
    """The result of a function, reused for `seconds`; one thread computes it at a time."""

    def __init__(self, compute: Callable[[], dict[str, Any]], seconds: float) -> None:
        self._compute, self._seconds = compute, seconds
        self._lock = threading.Lock()
        self._value: dict[str, Any] = {}
        self._expires_at = 0.0

    def __call__(self) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() >= self._expires_at:
                self._value = self._compute()
                self._expires_at = time.monotonic() + self._seconds
            return self._value

    def forget(self) -> None:
        self._expires_at = 0.0


def _now() -> dict[str, Any]:
    facts = Facts()
    return {
        "counts": unfinished_counts(),
        "oldest_waiting": figures.oldest_waiting(facts.depth),
        "running": facts.running[:RUNNING_SHOWN],
        "remote_leases": facts.remote_leases[: leases.SHOWN],
        "more_remote_leases": len(facts.remote_leases) > leases.SHOWN,
        "clusters": cluster_states(facts.clusters, facts.running),
        "problems": live_checks(facts),
        "hour": figures.last_hour(),
        "facts": facts,
    }


def _hour() -> dict[str, Any]:
    return {
        "job_charts": figures.job_charts("hour"),
        "mail_charts": figures.mail_charts("hour"),
        "by_kind": figures.by_kind(),
        "mail": figures.mail_rates(),
        "tables": database.tables(),
    }


def _day() -> dict[str, Any]:
    return _hour() | {"job_charts": figures.job_charts("day"), "mail_charts": figures.mail_charts("day")}


now = Cached(_now, 1.9)
charts = {"hour": Cached(_hour, 10.0), "day": Cached(_day, 30.0)}


def forget() -> None:
    """For tests: the next calls compute everything again."""
    for part in (now, *charts.values()):
        part.forget()
