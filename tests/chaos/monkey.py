"""Who kills: processes at random, the database now and then; and the supervisor that starts what has ended."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tests.farm import Cluster, kill
from tests.servers.postgresql import PostgreSQL

PAUSE = (0.6, 1.8)
"""Seconds between two blows: at least and at most."""
LATEST = 5
"""How often the time that was asked for may pass until all that can be done was done at least once."""
ACTS = {"worker": 60, "dispatcher": 12, "guard": 12, "stop": 16}
"""What is done, and how often of a hundred times."""
NAMES = {
    "worker": "worker killed (SIGKILL)",
    "dispatcher": "dispatcher killed (SIGKILL)",
    "guard": "guard killed (SIGKILL)",
    "stop": "cluster stopped (SIGTERM)",
}


@dataclass(frozen=True)
class Killing:
    """at: seconds since 1970. processes: the killed one and those that die with it."""

    role: str
    at: float
    processes: tuple[int, ...]


class Monkey:
    """Deterministic in what it rolls, not in what it hits: who is busy at that moment is up to the machine."""

    def __init__(self, clusters: list[Cluster], server: PostgreSQL, dice: random.Random, seconds: float) -> None:
        self.clusters = clusters
        self.server = server
        self.dice = dice
        self.killings: list[Killing] = []
        self.done: Counter[str] = Counter()
        self.stopping: dict[Cluster, float] = {}
        self.longest_stop = 0.0
        self.bad_stops: list[str] = []
        self._blows = self._plan(seconds)
        self._next = next(self._blows, None)

    def look(self, since_start: float) -> bool:
        """Do what is due by now; False when nothing is left to do."""
        self.supervise()
        if self._next and self._next[0] <= since_start:
            self._do(self._next[1])
            self._next = next(self._blows, None)
        return self._next is not None

    def _missed(self) -> str | None:
        """What never came to pass, because there was nobody to be hit when it was its turn."""
        return next((act for act in ACTS if not self.done[NAMES[act]]), None)

    def supervise(self) -> None:
        """Start clusters that have ended, as systemd or a container platform does."""
        for cluster in self.clusters:
            if not cluster.running():
                self._judge_the_end(cluster)
                cluster.start()

    def _plan(self, seconds: float) -> Iterator[tuple[float, str]]:
        """When to do what: the database is restarted after a third and after two thirds of the time.

        All that can be done is done, at the end if not before.
        """
        restarts = [(seconds / 3, "fast"), (seconds * 2 / 3, "immediate")]
        now = 3.0
        while now < seconds:
            while restarts and restarts[0][0] <= now:
                yield restarts.pop(0)
            yield now, self.dice.choices(list(ACTS), list(ACTS.values()))[0]
            now += self.dice.uniform(*PAUSE)
        while (missed := self._missed()) and now < LATEST * seconds:
            yield now, missed
            now += PAUSE[0]

    def _do(self, act: str) -> None:
        if act in {"fast", "immediate"}:
            self.server.restart(act)
            self.done[f"PostgreSQL restarted ({act})"] += 1
            return
        cluster = self.dice.choice(self.clusters)
        if act == "stop":
            self._stop(cluster)
        else:
            self._kill(cluster, act)

    def _stop(self, cluster: Cluster) -> None:
        if cluster not in self.stopping and cluster.running():
            cluster.send(signal.SIGTERM)
            self.stopping[cluster] = time.monotonic()
            self.done[NAMES["stop"]] += 1

    def _kill(self, cluster: Cluster, role: str) -> None:
        candidates = [cluster.pid] if role == "guard" else cluster.children(role)
        if not candidates or not cluster.running():
            return
        chosen = self.dice.choice(candidates)
        doomed = cluster.members() if role == "guard" else [chosen]
        killing = Killing(role, time.time(), tuple(doomed))
        with suppress(ProcessLookupError):  # it has just ended by itself
            kill(chosen)
            self.killings.append(killing)
            self.done[NAMES[role]] += 1
        if role == "guard":
            self.stopping.pop(cluster, None)

    def _judge_the_end(self, cluster: Cluster) -> None:
        """A stop takes as long as the grace, and its status is 0."""
        asked_at = self.stopping.pop(cluster, None)
        if asked_at is None:
            return
        self.longest_stop = max(self.longest_stop, time.monotonic() - asked_at)
        # A program that has not yet installed its handlers dies of the signal itself: nothing had begun.
        if cluster.returncode not in {0, -signal.SIGTERM}:
            self.bad_stops.append(f"{cluster.name} ended with {cluster.returncode}")
