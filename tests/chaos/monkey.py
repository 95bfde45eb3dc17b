"""Injects faults, into clusters at random and into databases now and then, and starts clusters that have ended."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from tests.chaos.faults import Blows
from tests.chaos.skewed_cluster import SkewedCluster
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.redis import Redis

PAUSE = (0.6, 1.8)
"""Seconds between two faults: at least and at most."""
LATEST = 5
"""A run may last this many times as long as was asked for, until each act was done at least once."""
ACTS: dict[str, tuple[int, Callable[[Blows], bool]]] = {
    "worker killed (SIGKILL)": (30, Blows.worker),
    "I/O worker killed (SIGKILL)": (12, Blows.io_worker),
    "dispatcher killed (SIGKILL)": (8, Blows.dispatcher),
    "supervisor killed (SIGKILL)": (8, Blows.supervisor),
    "cluster stopped (SIGTERM)": (7, Blows.stop),
    "cluster stopped, back with another clock": (4, Blows.clock),
    "half of the connections cut": (5, Blows.cut_some),
    "all connections cut": (3, Blows.cut_all),
    "worker frozen (SIGSTOP)": (7, Blows.freeze),
    "cluster frozen for longer than a lease": (2, Blows.freeze_cluster),
    "maintenance task made to fail": (4, Blows.maintenance),
    "GIL holder submitted": (7, Blows.gil),
    "long transactions with progress submitted": (3, Blows.transactions),
}
"""Each act: how often of a hundred times it is chosen, and how it is done."""


Restarts = Mapping[str, Callable[[], None]]
"""What is restarted and how, in this order."""


def restarts(server: PostgreSQL, redis: Redis | None) -> Restarts:
    """Redis keeps nothing on disk here: what it held when it is killed is gone."""
    of_redis = {"Redis killed, and empty when it is back": partial(redis.restart, "kill")} if redis else {}
    return {
        "PostgreSQL restarted (fast)": partial(server.restart, "fast"),
        **of_redis,
        "PostgreSQL restarted (immediate)": partial(server.restart, "immediate"),
    }


class Monkey:
    """The seed decides which acts are chosen; what they hit depends also on which processes are running then."""

    def __init__(
        self,
        clusters: list[SkewedCluster],
        restarts: Restarts,
        blows: Blows,
        dice: random.Random,
        seconds: float,
    ) -> None:
        self.clusters = clusters
        self.restarts = restarts
        self.blows = blows
        self.dice = dice
        self.done: Counter[str] = Counter()
        self.longest_stop = 0.0
        self.bad_stops: list[str] = []
        self._plan = self._planned(seconds)
        self._next = next(self._plan, None)

    def look(self, since_start: float) -> bool:
        """Do what is due by now; False when nothing is left to do."""
        self.supervise()
        if self._next and self._next[0] <= since_start:
            self._do(self._next[1])
            self._next = next(self._plan, None)
        return self._next is not None

    def supervise(self) -> None:
        """Start clusters that have ended, as systemd or a container platform does."""
        self.blows.look()
        for cluster in self.clusters:
            if not cluster.running():
                self._judge_the_end(cluster)
                cluster.start()

    def _missed(self) -> str | None:
        """An act that was never done, because there was no process to hit when it was chosen; None if all were done."""
        return next((act for act in ACTS if not self.done[act]), None)

    def _planned(self, seconds: float) -> Iterator[tuple[float, str]]:
        """When to do which act: the restarts divide the time evenly.

        Acts that were never done come at the end.
        """
        parts = len(self.restarts) + 1
        restarts = [(seconds * number / parts, name) for number, name in enumerate(self.restarts, 1)]
        now = 3.0
        while now < seconds:
            while restarts and restarts[0][0] <= now:
                yield restarts.pop(0)
            yield now, self.dice.choices(list(ACTS), [weight for weight, _ in ACTS.values()])[0]
            now += self.dice.uniform(*PAUSE)
        while (missed := self._missed()) and now < LATEST * seconds:
            yield now, missed
            now += PAUSE[0]

    def _do(self, act: str) -> None:
        if act in self.restarts:
            self.restarts[act]()
            self.done[act] += 1
            return
        _, blow = ACTS[act]
        self.done[act] += blow(self.blows)

    def _judge_the_end(self, cluster: SkewedCluster) -> None:
        """Note how long a requested stop took, and any exit status other than 0."""
        asked_at = self.blows.stopping.pop(cluster, None)
        if asked_at is None:
            return
        self.longest_stop = max(self.longest_stop, time.monotonic() - asked_at)
        # The signal itself ends a program that has not yet installed its signal handlers: nothing had begun.
        if cluster.returncode not in {0, -signal.SIGTERM}:
            self.bad_stops.append(f"{cluster.name} ended with {cluster.returncode}")
