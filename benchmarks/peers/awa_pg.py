"""Coroutine handlers; one logical queue over 4 partitions with 16 workers each in every worker process, as its
documentation shows for a very hot queue, all else default. It stores no results: a job counts as stored when it is in a
batch of completions, and what is read back is its state. Both are dropped with their partitions after a while."""

import asyncio
import os
import signal
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

from awa import AsyncClient, Client, JobState, PartitionedQueue

from benchmarks import work

URL = os.environ["DATABASE_URL"]

queue = PartitionedQueue("bench", 4)
_numbers = count()


@dataclass
class Noop:
    """No arguments."""


@dataclass
class TellStart:
    """The arguments of work.tell_start."""

    path: str


async def main() -> None:
    client = AsyncClient(URL)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    @client.task(Noop, queue=queue.physical_queues[0])
    async def noop(_job: Any) -> None:
        work.noop()

    @client.task(TellStart, queue=queue.physical_queues[0])
    async def tell_start(job: Any) -> None:
        work.tell_start(job.args.path)

    await client.start(queue.queue_configs(max_workers_per_partition=16))
    await stopped.wait()
    await client.shutdown()


@cache
def _client() -> Client:
    return Client(URL)


_completed: dict[int, int] = {}
"""Completed jobs by batch, so that batches still count when their partitions are dropped."""


def prepare() -> None:
    with Client(URL) as client, client.transaction() as transaction:
        transaction.execute("DROP SCHEMA IF EXISTS awa CASCADE")
    _client.cache_clear()
    _client().migrate()
    # The first worker does this too. A job that is enqueued before it would keep the storage of older releases in use.
    _select("SELECT awa.storage_auto_finalize_if_fresh('awa')::text")
    _completed.clear()


def enqueue() -> Any:
    return _client().insert(Noop(), **queue.route_by_index(next(_numbers))).id


def enqueue_many(jobs: int) -> None:
    routes = [queue.route_by_index(number) for number in range(jobs)]
    _client().enqueue_many_copy([Noop()] * jobs, opts=routes)


def stored() -> int:
    rows = _select("SELECT batch_id, completed_count::bigint AS jobs FROM awa.receipt_completion_batches")
    _completed.update({row["batch_id"]: row["jobs"] for row in rows})
    return sum(_completed.values())


def result(handle: Any) -> object:
    return work.ANSWER if _client().get_job(handle).state == JobState.Completed else None


def probe(path: str) -> None:
    _client().insert(TellStart(path), **queue.route_by_index(next(_numbers)))


def _select(query: str) -> list[dict[str, Any]]:
    with _client().transaction() as transaction:
        rows: list[dict[str, Any]] = transaction.fetch_all(query)
    return rows


if __name__ == "__main__":
    asyncio.run(main())
