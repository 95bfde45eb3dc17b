"""`python -m benchmarks.leases`: how soon after its POST a job is leased, and how many threads and connections waiting
remote workers take."""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg2
from rich.console import Console

from tests.support.servers.postgresql import PostgreSQL
from tests.support.stack import Stack

console = Console(highlight=False)

KIND = "demo.remote"
WAIT = 20
SETTLED = 2.0
"""Seconds from the last waiting worker's request to the first job."""


async def measure(stack: Stack, waiting: int, rounds: int) -> None:
    busy, idle = stack.client("busy").token, stack.client("idle").token
    limits = httpx.Limits(max_connections=waiting + 10)
    async with httpx.AsyncClient(base_url=f"{stack.url}/api/v1/", limits=limits, timeout=WAIT + 60) as http:
        crowd = [asyncio.create_task(_wait_for_ever(http, idle, f"idle-{number}")) for number in range(waiting)]
        await asyncio.sleep(SETTLED + waiting / 200)
        console.print(f"{waiting} waiting workers: {_held(stack)}")
        waits = [await _one(http, busy, number) for number in range(rounds)]
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
    p99 = statistics.quantiles(waits, n=100)[98]
    console.print(
        f"from POST of a job to its lease, {rounds} times: p50 {statistics.median(waits):.1f} ms, p99 {p99:.1f} ms"
    )


async def _one(http: httpx.AsyncClient, token: str, number: int) -> float:
    """Milliseconds from the start of a POST to the answer that a waiting worker gets."""
    leased = asyncio.create_task(_lease(http, token, f"busy-{number}"))
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    await http.post("jobs/", json={"kind": KIND, "params": {"note": ""}}, headers=_headers(token))
    answer = await leased
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 201, (answer.status_code, answer.text)  # noqa: S101
    await http.post(f"{answer.json()['url']}success/", json={"result": None}, headers=_headers(token))
    return took


async def _wait_for_ever(http: httpx.AsyncClient, token: str, worker: str) -> None:
    while True:
        await _lease(http, token, worker)


async def _lease(http: httpx.AsyncClient, token: str, worker: str) -> httpx.Response:
    headers = _headers(token) | {"Prefer": f"wait={WAIT}"}
    return await http.post("leases/", json={"worker": worker, "kinds": [KIND]}, headers=headers)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Token {token}"}


def _held(stack: Stack) -> str:
    threads = len(os.listdir(f"/proc/{stack.web.pid}/task"))
    with psycopg2.connect(stack.env["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        connections = cursor.fetchone()[0] - 1
    return f"{threads} threads of the web process, {connections} database connections of all processes"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leases", description=__doc__)
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=100)
    asked = parser.parse_args()
    with PostgreSQL() as server:
        os.environ["DATABASE_URL"] = server.create_database("leases")
        env = {"RATE_LIMIT_PER_MINUTE": "1000000", "MAX_WATCHES": "100000"}
        folder = Path(tempfile.mkdtemp(prefix="legwork-leases-"))
        with Stack(os.environ["DATABASE_URL"], folder, env=env) as stack:
            asyncio.run(measure(stack, asked.waiting, asked.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
