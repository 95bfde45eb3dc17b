"""The private PostgreSQL server: tests that kill databases rely on it."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import psycopg2
import pytest

from demo.eventually import eventually
from demo.stack import ROOT
from tests.support.servers.postgresql import STOP_SIGNALS, PostgreSQL, accepts_connections
from tests.support.timeouts import PATIENCE

ORPHAN = """
    import signal
    from tests.support.servers.postgresql import PostgreSQL

    server = PostgreSQL()
    server.start()
    print(server.url(), flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL(durable=True) as server:
        yield server


@pytest.mark.parametrize("mode", STOP_SIGNALS)
def test_what_was_committed_is_there_after_every_kind_of_restart(server: PostgreSQL, mode: str) -> None:
    url = server.create_database(mode)
    execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")

    server.restart(mode)

    assert execute(url, "SELECT answer FROM kept") == [(42,)]


def test_a_stopped_server_answers_nobody(server: PostgreSQL) -> None:
    server.stop()
    assert not accepts_connections(server.url())
    server.start()


def test_a_server_never_runs_as_root(server: PostgreSQL) -> None:
    owner = (server.data / "postmaster.pid").stat().st_uid
    assert owner != 0
    assert os.getuid() in {0, owner}


def test_a_server_does_not_outlive_a_killed_test_run() -> None:
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(ORPHAN)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with run:
        assert run.stdout
        url = run.stdout.readline().strip()
        eventually(lambda: accepts_connections(url), PATIENCE, "the server's start")

        run.send_signal(signal.SIGKILL)

    eventually(lambda: not accepts_connections(url), PATIENCE, "the server's end")


def execute(url: str, sql: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows
