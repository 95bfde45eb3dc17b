"""asyncpg with one connection for each worker process and uvloop, as with its command line (`run` is called instead of
that, which fails with the release of typer that it installs), coroutine entrypoints, the autovacuum settings of its
`pgq autovac`, durability `durable` (its default). It stores no results: the row of a finished job is deleted, and
`successful` is written to its log table, both in batches; a job counts as stored when it is in the log table, and what
is read back is that state.
"""

import asyncio
import os
import signal
import sys
from functools import cache
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks import work

URL = os.environ["DATABASE_URL"]

_runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def main(batch: int) -> None:
    queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queue.shutdown.set)

    @queue.entrypoint("noop")
    async def noop(_job: Job) -> None:
        work.noop()

    @queue.entrypoint("tell_start")
    async def tell_start(job: Job) -> None:
        work.tell_start((job.payload or b"").decode())

    await queue.run(batch_size=batch)


@cache
def _connection() -> Any:
    return _runner.run(asyncpg.connect(URL))


@cache
def _queries() -> Queries:
    return Queries(AsyncpgDriver(_connection()))


def prepare() -> None:
    if not _runner.run(_queries().schema_is_installed()):
        _runner.run(_queries().install())
        _runner.run(_queries().optimize_autovacuum())
    _runner.run(_connection().execute("TRUNCATE pgqueuer, pgqueuer_log, pgqueuer_statistics"))


def enqueue() -> Any:
    return _runner.run(_queries().enqueue("noop", None))[0]


def enqueue_many(count: int) -> None:
    _runner.run(_queries().enqueue(["noop"] * count, [None] * count, [0] * count))


def stored() -> int:
    count = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful' AND entrypoint = 'noop'"
    return int(_runner.run(_connection().fetchval(count)))


def result(handle: Any) -> object:
    [(_, status)] = _runner.run(_queries().job_status([handle]))
    return work.ANSWER if status == "successful" else None


def probe(path: str) -> None:
    _runner.run(_queries().enqueue("tell_start", path.encode()))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
