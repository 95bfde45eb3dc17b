"""report.activity on a real standby: it is read there, it misses nothing, and it does without when it must."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Timer

import pytest

from demo.eventually import eventually
from tests.servers.postgresql import PostgreSQL
from tests.servers.standby import Standby, ask
from tests.stack import Client, Stack

pytestmark = pytest.mark.xdist_group("replicas")

COUNTED = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "on"}
BIG_READS = """
    SELECT count(*)::int, coalesce(sum(calls), 0)::int, coalesce(bool_and(query LIKE 'DECLARE%'), false)
    FROM pg_stat_statements WHERE query ~ 'FROM "(jobs_job|mail_message)".* GROUP BY' AND query !~ 'pg_stat_statements'
"""
"""How many statements there are, how often they were run, and whether all went through a server-side cursor."""
MANY = """
    INSERT INTO jobs_job (id, user_id, kind, params, queue, priority, timeout, request_id, status, attempt, worker,
        run_at, created_at, started_at, finished_at, cancel_requested, progress, errors)
    SELECT gen_random_uuid(), (SELECT id FROM auth_user WHERE username = '{user}'), 'demo.countdown', '{{}}', 'default',
        0, 60, '', 'succeeded', 1, 'x', now(), '2026-05-01T12:00Z', now(), '2026-05-02T12:00Z', false, '{{}}', '[]'
    FROM generate_series(1, {count})
"""
FIGURES = 5


@dataclass
class Topology:
    primary: PostgreSQL
    standby: Standby
    stack: Stack

    def forget(self) -> None:
        for server in (self.primary, self.standby):
            ask(server.url("legwork"), "SELECT pg_stat_statements_reset()")

    def big_reads(self, server: PostgreSQL) -> tuple[int, int, bool]:
        statements, calls, by_cursor = ask(server.url("legwork"), BIG_READS)
        return statements, calls, by_cursor


@pytest.fixture(scope="module")
def _topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    folder = tmp_path_factory.mktemp("report")
    with PostgreSQL(settings=COUNTED) as primary:
        url = primary.create_database("legwork")
        ask(url, "CREATE EXTENSION pg_stat_statements")
        standby = Standby(primary)
        standby.start()
        standby.catch_up()
        env = {"REPLICA_URLS": standby.url("legwork"), "WORKERS": "1", "MEDIA_ROOT": str(folder / "media")}
        with Stack(url, folder, env=env) as stack:
            yield Topology(primary, standby, stack)
        standby.remove()


@pytest.fixture
def topology(_topology: Topology) -> Topology:
    _topology.standby.start()
    _topology.standby.resume()
    _topology.stack.revive()
    client = _topology.stack.client("settler")
    eventually(lambda: reads_from_standby(_topology, client), 30, "a report from the standby")
    _topology.forget()
    return _topology


def report(client: Client, first_day: str = "", last_day: str = "") -> list[dict[str, str]]:
    """Its lines."""
    params: dict[str, object] = {"first_day": first_day, "last_day": last_day} if first_day else {"days": 1}
    job = client.post("jobs/", {"kind": "report.activity", "params": params}, expect=202).json()
    client.wait_for(job["id"], "succeeded")
    answer = client.get(f"jobs/{job['id']}/output/", expect=200)
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="activity-')
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    return list(csv.DictReader(answer.text.splitlines()))


def reads_from_standby(topology: Topology, client: Client) -> bool:
    topology.forget()
    report(client)
    return topology.big_reads(topology.standby)[1] == FIGURES and topology.big_reads(topology.primary)[1] == 0


def test_its_big_reads_run_on_the_standby_by_server_side_cursors(topology: Topology) -> None:
    client = topology.stack.client("ada")
    ask(topology.primary.url("legwork"), MANY.format(user="ada", count=20_000))

    first, second = report(client, "2026-05-01", "2026-05-02")

    assert (first["jobs_created"], first["jobs_succeeded"]) == ("20000", "0")
    assert (second["jobs_created"], second["jobs_succeeded"]) == ("0", "20000")
    assert topology.big_reads(topology.standby) == (FIGURES, FIGURES, True)
    assert topology.big_reads(topology.primary)[1] == 0


def test_it_never_misses_what_its_user_wrote_before(topology: Topology) -> None:
    client = topology.stack.client("bob")
    for posted in range(1, 21):
        later = {"kind": "demo.countdown", "params": {"seconds": 0}, "run_at": "2100-01-01T00:00:00Z"}
        client.post("jobs/", later, expect=202)
        [today] = reported_today(client)
        assert int(today["jobs_created"]) == 2 * posted  # the reports are jobs, too
    assert topology.big_reads(topology.primary)[1] == 0


def test_it_waits_for_a_standby_that_is_a_moment_behind(topology: Topology) -> None:
    client = topology.stack.client("carol")
    topology.standby.pause()
    resume = Timer(1, topology.standby.resume)
    resume.start()
    try:
        [today] = reported_today(client)
    finally:
        resume.join()
    assert today["jobs_created"] == "1"
    assert topology.big_reads(topology.standby)[1] == FIGURES
    assert topology.big_reads(topology.primary)[1] == 0


def test_it_is_read_from_the_primary_when_the_standby_stays_behind(topology: Topology) -> None:
    client = topology.stack.client("dave")
    topology.standby.pause()
    try:
        [today] = reported_today(client)
    finally:
        topology.standby.resume()
    assert today["jobs_created"] == "1"
    assert topology.big_reads(topology.standby)[1] == 0
    assert topology.big_reads(topology.primary)[1] == FIGURES


def test_it_is_read_from_the_primary_when_the_standby_has_died(topology: Topology) -> None:
    client = topology.stack.client("eve")
    topology.standby.stop("kill")
    try:
        [today] = reported_today(client)
        assert today["jobs_created"] == "1"
        assert topology.big_reads(topology.primary)[1] == FIGURES
    finally:
        topology.standby.start()
    eventually(lambda: reads_from_standby(topology, client), 30, "reports from the standby again")


def reported_today(client: Client) -> list[dict[str, str]]:
    """From midnight on, lest the day change under the test."""
    now = datetime.now(UTC)
    if (now.hour, now.minute) == (23, 59):
        eventually(lambda: datetime.now(UTC).hour == 0, 70, "the next day")
    return report(client)
