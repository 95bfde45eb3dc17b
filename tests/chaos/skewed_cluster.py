"""A cluster whose clock may be wrong."""

import os
from pathlib import Path

from demo.stack import MANAGE, ROOT
from tests.chaos.clock import VARIABLE
from tests.support.cluster_stack import Cluster


class SkewedCluster(Cluster):
    def __init__(self, name: str, folder: Path, clock: int, *, workers: int, io_workers: int) -> None:
        command = [*MANAGE, "qcluster", "--workers", str(workers), "--io-workers", str(io_workers)]
        super().__init__(name, command, log=folder / f"{name}.log", env=dict(os.environ), cwd=ROOT)
        self.set_clock(clock)

    def set_clock(self, seconds: int) -> None:
        """From the cluster's next start on, its clock is ahead by so many seconds."""
        self.clock = seconds
        self._env = {**os.environ, VARIABLE: str(seconds)}
