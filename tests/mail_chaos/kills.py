"""What is killed while mail is sent, and the supervisor that starts it again."""

import random
from collections import Counter
from collections.abc import Callable

from demo.processes import Process
from tests.support.cluster_stack import Cluster, ClusterStack, kill
from tests.support.servers.simulator import Simulator

REFUSED_FOR = (0.5, 2.0)
"""Seconds for which nobody can connect to the provider: at least and at most."""


class Kills:
    """The seed decides which acts are chosen; what they hit depends also on which processes are running then."""

    def __init__(self, stack: ClusterStack, simulator: Simulator, dice: random.Random) -> None:
        self.stack = stack
        self.simulator = simulator
        self.dice = dice
        self.done: Counter[str] = Counter()
        self._acts: dict[str, tuple[int, Callable[[], bool]]] = {
            "I/O worker killed (SIGKILL)": (40, lambda: self._kill_child("io-worker")),
            "worker killed (SIGKILL)": (20, lambda: self._kill_child("worker")),
            "dispatcher killed (SIGKILL)": (5, lambda: self._kill_child("dispatcher")),
            "whole cluster killed (SIGKILL)": (15, self._kill_cluster),
            "web process killed (SIGKILL)": (10, lambda: self._kill_process(self.stack.web)),
            "provider not reachable for up to two seconds": (10, self._refuse),
        }
        """Each act: how often of a hundred times it is chosen, and how it is done."""

    def kill_something(self) -> None:
        """Do an act that was not done yet, or, if there is none, any act at random."""
        names = [name for name in self._acts if not self.done[name]] or list(self._acts)
        name = self.dice.choices(names, [self._acts[name][0] for name in names])[0]
        self.done[name] += self._acts[name][1]()

    def supervise(self) -> None:
        """Start what has ended, as systemd or a container platform does."""
        for process in (self.stack.web, *self.stack.clusters):
            if not process.running():
                process.start()

    def _kill_child(self, role: str) -> bool:
        children = self.dice.choice(self.stack.clusters).children(role)
        if not children:
            return False
        kill(self.dice.choice(children))
        return True

    def _kill_cluster(self) -> bool:
        cluster: Cluster = self.dice.choice(self.stack.clusters)
        return self._kill_process(cluster)

    def _kill_process(self, process: Process) -> bool:
        if not process.running():
            return False
        process.kill()
        return True

    def _refuse(self) -> bool:
        self.simulator.refuse(self.dice.uniform(*REFUSED_FOR))
        self.simulator.wait_until_up()
        return True
