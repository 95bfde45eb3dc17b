"""One round of one contender, the same steps for all (see METHOD, which goes into the result file)."""

import os
import time
from dataclasses import dataclass, field

from benchmarks.runner import Running
from benchmarks.stores import Stores
from benchmarks.tree import Memory, Tree, machine_cpu_seconds

METHOD = """\
1. The client empties the store and, where the peer has a bulk call, enqueues all jobs with it (timed), and empties the
   store again. No worker runs.
2. The workers are started and warmed up: 200 jobs are enqueued and finished, twice; each time the bench waits until the
   worker processes are idle (at most 0.01 CPU seconds for each process in half a second). So start-up is never counted.
3. Idle latency: one job at a time on idle workers, after a pause drawn evenly from 20 to 400 ms, so that polling peers
   are met at every phase of their poll. From the call of the enqueue function to the job's first line.
4. All processes of the workers are stopped with SIGSTOP. The client enqueues all jobs one at a time (timed; one
   process, one thread, beside which no worker runs). PostgreSQL makes a checkpoint. The workers stay stopped for two
   seconds or more, so that the last pause of a peer that polls is over by then and does not count in step 5.
5. Drain: the clock starts, SIGCONT releases all worker processes, and the clock stops when as many results are stored
   as jobs were enqueued. The client looks at the count rarely at first and often near the end. Then 50 results are
   read through the peer's own API and compared.
6. CPU seconds (of all worker processes and of both servers) and bytes of WAL (pg_current_wal_insert_lsn before and
   after) are those of step 5. Memory is read right after it."""

WARM_UP = 200
LONGEST_POLL = 2.0
"""Seconds for which workers stay stopped: twice the longest pause of an idle peer between two looks (dramatiq's)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rates per second; CPU in seconds per 1,000 jobs, of the worker processes and of the servers.

    wal: bytes a job in PostgreSQL's write-ahead log while it drained.
    noise: the share of the machine's cores that other programs used meanwhile.
    """

    enqueue: float
    bulk: float | None
    drain: float
    memory: Memory
    worker_cpu: float
    server_cpu: float
    wal: float = 0.0
    noise: float = 0.0
    latencies: list[float] = field(default_factory=list)


def measure(running: Running, stores: Stores, jobs: int, probes: int) -> Sample:
    """One round. Raises demo.processes.DiedError and demo.eventually.TooLateError."""
    ask = running.client.ask
    stores.empty_redis()
    ask("prepare")
    bulk = _bulk_rate(running, jobs)
    stores.empty_redis()
    ask("prepare")
    running.start_workers()
    warm_up(running, min(WARM_UP, jobs))
    latencies: list[float] = ask("latencies", probes)
    running.workers.wait_until_idle()
    running.workers.stop()
    stopped = time.monotonic()
    enqueue = jobs / ask("enqueue", jobs)
    stores.calm_down()
    time.sleep(max(stopped + LONGEST_POLL - time.monotonic(), 0))
    drained = drain(running, stores, ask("stored") + jobs)
    memory = running.workers.memory()
    ask("check_results")
    return Sample(
        enqueue=enqueue,
        bulk=bulk,
        drain=jobs / drained.seconds,
        memory=memory,
        worker_cpu=1000 * drained.workers / jobs,
        server_cpu=1000 * drained.servers / jobs,
        wal=drained.wal / jobs,
        noise=drained.noise,
        latencies=latencies,
    )


@dataclass(frozen=True, slots=True)
class Drain:
    """Wall seconds; CPU seconds of the workers, of the servers, and of all else on this machine; bytes of WAL."""

    seconds: float
    workers: float
    servers: float
    others: float
    wal: int

    @property
    def noise(self) -> float:
        """The share of the machine's cores that other programs used."""
        return self.others / self.seconds / (os.cpu_count() or 1)


def _bulk_rate(running: Running, jobs: int) -> float | None:
    ask = running.client.ask
    if not ask("can_enqueue_many"):
        return None
    seconds: float = ask("enqueue_many", jobs)
    return jobs / seconds


def warm_up(running: Running, jobs: int) -> None:
    for _ in range(2):
        running.do_jobs(jobs)


def drain(running: Running, stores: Stores, goal: int) -> Drain:
    """Release the stopped workers and measure until so many results are stored."""
    trees = running.workers, stores.tree(), Tree(os.getpid())
    wal, before, machine_before = stores.wal_bytes(), [tree.cpu_seconds() for tree in trees], machine_cpu_seconds()
    began = time.monotonic()
    running.workers.resume()
    ended = running.wait(goal)
    machine = machine_cpu_seconds() - machine_before
    workers, servers, bench = (tree.cpu_seconds() - used for tree, used in zip(trees, before, strict=True))
    others = max(machine - bench, 0.0)
    return Drain(ended - began, workers, servers, others, stores.wal_bytes() - wal)
