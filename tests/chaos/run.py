"""The course of a run: prepare, submit while the monkey is at work, let the queue drain, judge, report."""

import argparse
import logging
import random
import time
from uuid import UUID

from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from rich.console import Console
from rich.table import Table

from demo.eventually import TooLateError, eventually
from jobs.models import Job
from jobs.submit import submit
from tests.chaos import clock, faults, invariants, ledger
from tests.chaos.faults import Blows, Order
from tests.chaos.held_snapshot import HeldSnapshot
from tests.chaos.kinds import some_job
from tests.chaos.monkey import Monkey, restarts
from tests.chaos.skewed_cluster import SkewedCluster
from tests.chaos.stalls import Stalls, times_up
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.redis import Redis

DRAINED_WITHIN = 300.0
"""Seconds from the last fault to the end of the last job."""
STEP = 0.02
MOST_SHOWN = 50
WORKERS, IO_WORKERS = 2, 1
CLOCKS = (0, clock.HOUR)
"""Of the clusters at their first start."""
AWAY = (DatabaseError, InterfaceError)

DETAILS = {"all connections cut": [faults.CUT_IN_ALL], "worker frozen (SIGSTOP)": [faults.KILLED_FROZEN]}

console = Console(width=110)


class Course:
    def __init__(self, server: PostgreSQL, redis: Redis | None, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.dice = random.Random(asked.seed)
        self.clusters = [self._cluster(number, clock) for number, clock in enumerate(CLOCKS, 1)]
        dice = random.Random(asked.seed)
        url = server.url("chaos")
        self.blows = Blows(self.clusters, url, asked.folder, dice, self._submit_one, self._own_backends)
        self.held_snapshot = HeldSnapshot(url) if asked.held_snapshot else None
        self.monkey = Monkey(self.clusters, restarts(server, redis), self.blows, dice, asked.seconds)
        self.accepted: set[UUID] = set()
        self.problems: list[str] = []
        self.drained_after = 0.0

    def run(self) -> int:
        """0 when every promise was kept."""
        logging.getLogger("jobs.submit").setLevel("WARNING")
        call_command("migrate", verbosity=0)
        ledger.install()
        try:
            for cluster in self.clusters:
                cluster.start()
            for cluster in self.clusters:
                cluster.wait_until_up(WORKERS + IO_WORKERS)
            self._submit_and_kill()
            self._drain()
        finally:
            self.blows.end_all()
            if self.held_snapshot:
                self.held_snapshot.release()
            for cluster in self.clusters:
                cluster.stop()
        return self._judge()

    def _cluster(self, number: int, clock: int) -> SkewedCluster:
        return SkewedCluster(f"cluster-{number}", self.asked.folder, clock, workers=WORKERS, io_workers=IO_WORKERS)

    def _submit_and_kill(self) -> None:
        began = time.monotonic()
        more = True
        while more or len(self.accepted) < self.asked.jobs:
            since_start = time.monotonic() - began
            more = self.monkey.look(since_start)
            if self.held_snapshot:
                self.held_snapshot.look()
            self._submit_up_to(round(self.asked.jobs * min(1.0, since_start / self.asked.seconds)))
            time.sleep(STEP)

    def _submit_up_to(self, count: int) -> None:
        while len(self.accepted) < count and self._submit_one(some_job(self.dice)):
            pass

    def _submit_one(self, order: Order) -> bool:
        """False while the database is away: the job was not accepted, so nothing is promised for it."""
        kind, params = order
        try:
            close_old_connections()
            self.accepted.add(submit(kind, params).pk)
        except AWAY:
            return False
        return True

    def _own_backends(self) -> list[int]:
        ours = [connection.connection.info.backend_pid] if connection.connection else []
        return ours + (self.held_snapshot.backends if self.held_snapshot else [])

    def _drain(self) -> None:
        began = time.monotonic()
        try:
            eventually(self._drained, DRAINED_WITHIN, "the end of all jobs")
        except TooLateError:
            self.problems.append(f"The queue did not drain: {invariants.oldest_unfinished()}.")
        self.drained_after = time.monotonic() - began

    def _drained(self) -> bool:
        self.monkey.supervise()
        time.sleep(0.2)
        close_old_connections()
        return not Job.objects.unfinished().exists()

    def _judge(self) -> int:
        close_old_connections()
        stalls = Stalls(self.clusters, self.blows.ended)
        self.problems += invariants.broken_promises(self.accepted) + self.monkey.bad_stops
        self.problems += invariants.lost_though_alive(self.blows.frozen)
        self.problems += invariants.lost_by_a_neighbour(stalls.replaced, self.blows.frozen) + stalls.unexpected_deaths()
        up = times_up(self.clusters, self.blows.ended, self.blows.freezes)
        re_runs = invariants.re_runs(self.blows.killings, up)
        self.problems += [
            f"It took {one.seconds:.1f} s until job {one.job}, which a killed {one.role} ran, was run again."
            for one in re_runs
            if one.seconds > invariants.BAR + self.asked.slack
        ]
        self._show(re_runs, stalls)
        for problem in self.problems[:MOST_SHOWN]:
            console.print(f"[red]{problem}[/red]", highlight=False)
        console.print(f"{len(self.problems)} broken promises; logs in {self.asked.folder}")
        return 1 if self.problems else 0

    def _show(self, re_runs: list[invariants.ReRun], stalls: Stalls) -> None:
        table = Table("what", "how much", title=f"chaos: {self.asked.seconds:g} s, seed {self.asked.seed}")
        for what, count in sorted(self.monkey.done.items()):
            table.add_row(what, str(count))
            for detail in DETAILS.get(what, []):
                table.add_row(detail, str(self.blows.counts[detail]))
        for what, count in stalls.counts().items():
            table.add_row(what, str(count))
        if self.held_snapshot:
            table.add_row("snapshots held, one after the other", str(self.held_snapshot.count))
        table.add_row("longest stop", f"{self.monkey.longest_stop:.1f} s")
        table.add_row("jobs accepted / ended", f"{len(self.accepted)} / {Job.objects.count()}")
        table.add_row("extra starts of handlers", str(invariants.extra_starts()))
        for reason, count in invariants.reasons_of_extra_starts().most_common():
            table.add_row(f"  attempts that came to nothing: {reason}", str(count))
        for role in sorted({one.role for one in re_runs}):
            waits = [one.seconds for one in re_runs if one.role == role]
            table.add_row(f"from killing the {role} to the re-run", f"{len(waits)} times, worst {max(waits):.1f} s")
        table.add_row("drained after", f"{self.drained_after:.1f} s")
        console.print(table)
