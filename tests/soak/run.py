"""The course of a soak: start a cluster, keep it busy and sample it, let it drain, judge, report."""

import argparse
import logging
import os
import time
from collections import Counter

from django.core.management import call_command
from django.db.models import Count
from rich.console import Console
from rich.table import Table

from demo.eventually import TooLateError, eventually
from demo.stack import MANAGE, ROOT
from jobs.models import Job
from tests.soak import invariants
from tests.soak.load import Load, Notifications
from tests.soak.outcomes import wrong_ends
from tests.soak.samples import Sampler, Samples
from tests.support.cluster_stack import Cluster

WORKERS, IO_WORKERS = 2, 1
STEP = 0.1
MEMORY_EVERY = 5.0
DRAINED_WITHIN = 300.0
MOST_SHOWN = 50

console = Console(width=110)


class Course:
    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.seconds = 60 * asked.minutes
        self.url = os.environ["DATABASE_URL"]
        command = [*MANAGE, "qcluster", "--workers", str(WORKERS), "--io-workers", str(IO_WORKERS)]
        # The roles and process ids of its children are in lines of INFO.
        env = {**os.environ, "LOG_LEVEL": "INFO"}
        self.cluster = Cluster("cluster", command, log=asked.folder / "cluster.log", env=env, cwd=ROOT)
        self.notifications = Notifications(self.url, asked.notifications)
        self.problems: list[str] = []

    def run(self) -> int:
        """0 when every promise was kept."""
        for name in ("jobs.submit", "jobs.models"):
            logging.getLogger(name).setLevel("WARNING")
        call_command("migrate", verbosity=0)
        self.cluster.start()
        try:
            self.cluster.wait_until_up(WORKERS + IO_WORKERS)
            samples = self._soak()
            self._drain()
        finally:
            self.cluster.stop()
        return self._judge(samples)

    def _soak(self) -> Samples:
        load, sampler = Load(), Sampler(self.cluster, self.url)
        self.notifications.start()
        load.occupy_workers()
        end = time.monotonic() + self.seconds
        memory_at = 0.0
        while time.monotonic() < end:
            self.cluster.check()
            load.look()
            sampler.sample_backends()
            if time.monotonic() >= memory_at:
                sampler.sample_memory()
                memory_at = time.monotonic() + MEMORY_EVERY
            time.sleep(STEP)
        self.notifications.stop()
        return sampler.samples

    def _drain(self) -> None:
        try:
            eventually(self._drained, DRAINED_WITHIN, "the end of all jobs", pause=STEP)
        except TooLateError as error:
            self.problems.append(str(error))

    def _drained(self) -> bool:
        Load.cancel()
        return not Job.objects.unfinished().exists()

    def _judge(self, samples: Samples) -> int:
        self.problems += [*invariants.broken_promises(samples, self.seconds), *wrong_ends()]
        self._show(samples)
        self._write(samples)
        for problem in self.problems[:MOST_SHOWN]:
            console.print(f"[red]{problem}[/red]", highlight=False)
        console.print(f"{len(self.problems)} broken promises; log and memory.csv in {self.asked.folder}")
        return 1 if self.problems else 0

    def _show(self, samples: Samples) -> None:
        early, late, around = invariants.moments(self.seconds)
        memory = Table("process", f"minute {early / 60:.3g}", f"minute {late / 60:.3g}", "growth", "most")
        for (role, pid), taken in samples.processes.items():
            first = samples.memory_at((role, pid), early, around)
            last = samples.memory_at((role, pid), late, around)
            growth = f"{last.anonymous / first.anonymous - 1:+.1%}" if first and last else "?"
            shown = [f"{one.anonymous:.1f} ({one.pss:.1f}) MiB" if one else "?" for one in (first, last)]
            memory.add_row(f"{role} {pid}", *shown, growth, f"{max(one.anonymous for one in taken):.1f} MiB")
        memory.title = f"soak: {self.asked.minutes:g} minutes; anonymous memory, PSS (with files)"
        console.print(memory)
        table = Table("what", "how much")
        table.add_row(
            "notifications sent", f"{self.notifications.sent} ({self.notifications.sent / self.seconds:.0f}/s)"
        )
        table.add_row("transactions seen in samples", str(samples.transactions))
        for what, (age, query) in {
            "oldest transaction": samples.oldest_transaction,
            "oldest snapshot": samples.oldest_snapshot,
        }.items():
            table.add_row(what, f"{age:.2f} s ({query})")
        table.add_row("most of the server's notification queue in use", f"{samples.queue_usage:.4%}")
        rows = Job.objects.values_list("status").annotate(count=Count("pk"))
        for status, count in Counter(dict(rows)).most_common():
            table.add_row(f"jobs {status}", f"{count} ({count / self.seconds:.1f}/s)")
        console.print(table)

    def _write(self, samples: Samples) -> None:
        """Write all samples of memory to a file, to see how it grew."""
        lines = [
            f"{role},{pid},{one.at:.0f},{one.anonymous:.2f},{one.pss:.2f}"
            for (role, pid), taken in samples.processes.items()
            for one in taken
        ]
        header = "role,process,seconds,anonymous_mib,pss_mib"
        (self.asked.folder / "memory.csv").write_text("\n".join([header, *lines]) + "\n")
