"""How long a connection lasts whose packets are dropped.

Run it as `unshare --net python -m tests.system.jobs.dropped_connections`.
It runs in a network namespace of its own, where routing rules can drop what goes to one port, and prints the seconds
until the client of each connection is told, as JSON: one whose request was not acknowledged, one whose answer was lost.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from settings.env import NETWORK
from tests.support.servers.postgresql import PostgreSQL

RULES = (
    # The kernel's own rule for local addresses comes first of all; ours have to come before it.
    ("link", "set", "lo", "up"),
    ("rule", "add", "pref", "100", "lookup", "local"),
    ("rule", "del", "pref", "0"),
)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def drop_all_answers_to(connection: Any) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as copy:
        _, port = copy.getsockname()
    ip("rule", "add", "pref", "10", "ipproto", "tcp", "dport", str(port), "blackhole")


def seconds_until_told(url: str, statement: str, drop: Callable[[Any], object]) -> float:
    connection = psycopg2.connect(url, **NETWORK)
    connection.autocommit = True
    cursor = connection.cursor()
    drop(connection)
    began = time.monotonic()
    try:
        cursor.execute(statement)
    except psycopg2.OperationalError:
        return time.monotonic() - began
    raise RuntimeError("the connection was not dropped")


def drop_soon(connection: Any) -> None:
    threading.Timer(0.5, drop_all_answers_to, [connection]).start()


def main() -> None:
    for rule in RULES:
        ip(*rule)
    found: dict[str, float] = {}

    def measure(name: str, statement: str, drop: Callable[[Any], object]) -> None:
        found[name] = seconds_until_told(server.url(), statement, drop)

    with PostgreSQL() as server:
        both = [
            threading.Thread(target=measure, args=("not acknowledged", "SELECT 1", drop_all_answers_to)),
            threading.Thread(target=measure, args=("answer lost", "SELECT pg_sleep(1)", drop_soon)),
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        psycopg2.connect(server.url(), **NETWORK).close()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
