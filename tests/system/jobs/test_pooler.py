"""Web process and workers behind a real PgBouncer in transaction mode, with nothing in their address that says so."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from demo.eventually import eventually
from tests.support.event_stream import EventStream
from tests.support.servers.pgbouncer import PgBouncer
from tests.support.servers.postgresql import PostgreSQL
from tests.support.stack import Stack

SESSIONS = 3
JOB = {"kind": "demo.countdown", "params": {"seconds": 0}}
POSTS = 120

pytestmark = pytest.mark.xdist_group("pooler")


@pytest.fixture(scope="module")
def bouncer() -> Iterator[PgBouncer]:
    with PostgreSQL() as server:
        server.create_database("pooled")
        with PgBouncer(server.url(), SESSIONS) as bouncer:
            yield bouncer


@pytest.fixture(scope="module")
def stack(bouncer: PgBouncer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(bouncer.url("pooled"), tmp_path_factory.mktemp("pooler"), env={"WORKERS": "2"}) as stack:
        yield stack


class AnotherApplication:
    """A client of the same sessions, which notices what others have left in them."""

    def __init__(self, bouncer: PgBouncer) -> None:
        self._url = bouncer.url("pooled")
        self._ask("CREATE TABLE IF NOT EXISTS theirs (id int); SELECT 1")

    def settings(self, name: str) -> set[Any]:
        """What it finds in all sessions: as many transactions at once as there are sessions."""
        with ThreadPoolExecutor(SESSIONS) as threads:
            return set(threads.map(lambda _: self._ask(f"SELECT {name}, pg_sleep(0.2)"), range(SESSIONS)))

    def write(self) -> None:
        self._ask("INSERT INTO theirs VALUES (1) RETURNING id")

    def _ask(self, query: str) -> Any:
        with closing(psycopg2.connect(self._url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]


def test_jobs_run_and_every_request_is_answered_behind_a_pooler(stack: Stack, bouncer: PgBouncer) -> None:
    client, other = stack.client(), AnotherApplication(bouncer)

    def request(number: int) -> list[int]:
        posted = client.another().post("jobs/", JOB)
        other.write()
        read = client.another().get(f"jobs/{posted.json().get('id')}/")
        return [posted.status_code, read.status_code, client.another().get("jobs/").status_code]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(request, range(POSTS)))
    assert {tuple(answer) for answer in answers} == {(202, 200, 200)}

    waiting = [job["id"] for job in client.get("jobs/", params={"page_size": 200}, expect=200).json()["results"]]
    assert len(waiting) >= POSTS
    for job in waiting:
        client.wait_for(job, "succeeded")


def test_a_stream_tells_of_the_end_behind_a_pooler(stack: Stack) -> None:
    client = stack.client()
    job = client.post("jobs/", {**JOB, "params": {"seconds": 1}}, expect=202).json()
    with EventStream(client, f"jobs/{job['id']}/events/") as stream:
        stream.wait_for_status("succeeded")


@pytest.mark.parametrize(
    ("name", "untouched"),
    [
        ("current_setting('default_transaction_read_only')", "off"),
        ("current_setting('idle_in_transaction_session_timeout')", "0"),
        ("current_setting('enable_seqscan')", "on"),
        ("current_setting('jit')", "on"),
        ("(SELECT count(*) FROM pg_prepared_statements)", 0),
        ("(SELECT count(*) FROM pg_listening_channels())", 0),
    ],
)
def test_nothing_is_left_in_sessions_that_others_use(
    stack: Stack, bouncer: PgBouncer, name: str, untouched: Any
) -> None:
    client = stack.client()
    client.wait_for(client.post("jobs/", JOB, expect=202).json()["id"], "succeeded")
    assert AnotherApplication(bouncer).settings(name) == {untouched}


def test_doctor_says_that_there_is_a_pooler(stack: Stack) -> None:
    eventually(lambda: "through a pooler" in stack.doctor(), 60, "doctor's note")
