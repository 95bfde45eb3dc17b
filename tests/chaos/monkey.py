"""Who hits: the clusters at random, the database now and then; and the supervisor that starts what has ended."""

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
"""Seconds between two blows: at least and at most."""
LATEST = 5
"""How often the time that was asked for may pass until all that can be done was done at least once."""
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
"""What is done, and how often of a hundred times."""


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
    """Deterministic in what it rolls, not in what it hits: who is busy at that moment is up to the machine."""

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
        """What never came to pass, because there was nobody to be hit when it was its turn."""
        return next((act for act in ACTS if not self.done[act]), None)

    def _planned(self, seconds: float) -> Iterator[tuple[float, str]]:
        """When to do what: the restarts divide the time evenly.

        All that can be done is done, at the end if not before.
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
        """A stop takes as long as the grace, and its status is 0."""
        asked_at = self.blows.stopping.pop(cluster, None)
        if asked_at is None:
            return
        self.longest_stop = max(self.longest_stop, time.monotonic() - asked_at)
        # A program that has not yet installed its handlers dies of the signal itself: nothing had begun.
        if cluster.returncode not in {0, -signal.SIGTERM}:
            self.bad_stops.append(f"{cluster.name} ended with {cluster.returncode}")
