"""report.activity on a real standby: it is read there, it misses nothing, and it does without when it must."""

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest

from demo.eventually import eventually
from tests.support.replica_stack import LATER, make_primary
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.standby import Standby, ask
from tests.support.stack import Client, Stack

pytestmark = pytest.mark.xdist_group("report")

BIG_READS = """
    SELECT count(*)::int, coalesce(sum(calls), 0)::int, coalesce(bool_and(query LIKE 'DECLARE%'), false)
    FROM pg_stat_statements
    WHERE query ~ 'AS "day".* FROM "(jobs_job|mail_message)".* GROUP BY' AND query !~ 'pg_stat_statements'
"""
"""How many statements there are, how often they were run, and whether all went through a server-side cursor."""
LOOKS = r"""
    SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements
    WHERE query ~ 'FROM "jobs_job" WHERE .*"attempt" = .*"worker" = .* LIMIT' AND query !~ 'pg_stat_statements'
"""
"""How often workers have looked whether this server has replayed the claim of an attempt."""
MANY = """
    INSERT INTO jobs_job (id, user_id, kind, params, queue, pool, priority, timeout, request_id, status, attempt,
        worker, run_at, created_at, started_at, finished_at, cancel_requested, progress, errors, version)
    SELECT gen_random_uuid(), (SELECT id FROM auth_user WHERE username = '{user}'), 'demo.countdown', '{{}}', 'default',
        '', 0, 60, '', 'succeeded', 1, 'x', now(), '2026-05-01T12:00Z', now(), '2026-05-02T12:00Z', false,
        '{{}}', '[]', 1
    FROM generate_series(1, {count})
"""
FIGURES = 5


@dataclass
class Reports:
    """A primary and one standby below a web process and a worker."""

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
def _topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reports]:
    folder = tmp_path_factory.mktemp("report")
    with ExitStack() as servers:
        primary = make_primary({"pg_stat_statements.track_utility": "on"})
        servers.callback(primary.remove)
        standby = servers.enter_context(Standby(primary))
        env = {
            "REPLICA_URLS": standby.url("legwork"),
            "WORKERS": "1",
            "MEDIA_ROOT": str(folder / "media"),
            # What is counted here happened long ago.
            "JOB_RETENTION": "100000",
        }
        stack = Stack(primary.url("legwork"), folder, env=env)
        yield Reports(primary, standby, servers.enter_context(stack))


@pytest.fixture
def topology(_topology: Reports) -> Reports:
    _topology.standby.start()
    _topology.standby.resume()
    _topology.stack.revive()
    eventually(lambda: reads_from_standby(_topology, _topology.stack.client()), 120, "a report from the standby")
    _topology.forget()
    return _topology


def report(client: Client, first_day: date, last_day: date) -> list[dict[str, str]]:
    """Run a report; returns the lines of its file."""
    job = begin_report(client, first_day, last_day)
    return lines_of_report(client, job)


def begin_report(client: Client, first_day: date, last_day: date) -> str:
    """Submit a report; returns the id of its job."""
    params = {"first_day": first_day.isoformat(), "last_day": last_day.isoformat()}
    return str(client.post("jobs/", {"kind": "report.activity", "params": params}, expect=202).json()["id"])


def lines_of_report(client: Client, job: str) -> list[dict[str, str]]:
    client.wait_for(job, "succeeded")
    answer = client.get(f"jobs/{job}/output/", expect=200)
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="activity-')
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    return list(csv.DictReader(answer.text.splitlines()))


def today_and_tomorrow() -> tuple[date, date]:
    """The days on which this test may run: the day may change meanwhile."""
    today = datetime.now(UTC).date()
    return today, today + timedelta(days=1)


def jobs_created(lines: list[dict[str, str]]) -> int:
    return sum(int(line["jobs_created"]) for line in lines)


def reads_from_standby(topology: Reports, client: Client) -> bool:
    topology.forget()
    report(client, *today_and_tomorrow())
    return topology.big_reads(topology.standby)[1] == FIGURES and topology.big_reads(topology.primary)[1] == 0


def test_the_big_reads_of_a_report_run_on_the_standby_with_server_side_cursors(topology: Reports) -> None:
    ask(topology.primary.url("legwork"), MANY.format(user="ada", count=20_000))
    topology.standby.catch_up()

    first, second = report(topology.stack.client("ada"), date(2026, 5, 1), date(2026, 5, 2))

    assert (first["jobs_created"], first["jobs_succeeded"]) == ("20000", "0")
    assert (second["jobs_created"], second["jobs_succeeded"]) == ("0", "20000")
    assert topology.big_reads(topology.standby) == (FIGURES, FIGURES, True)
    assert topology.big_reads(topology.primary)[1] == 0


def test_a_report_never_misses_what_its_user_wrote_before(topology: Reports) -> None:
    client, days = topology.stack.client("bob"), today_and_tomorrow()
    for posted in range(1, 21):
        client.post("jobs/", LATER, expect=202)
        assert jobs_created(report(client, *days)) == 2 * posted  # the reports are jobs, too
    # On a machine that hung for too long, one report may have had to read from the primary.
    assert topology.big_reads(topology.primary)[1] <= FIGURES


def test_a_report_waits_for_a_standby_that_is_a_moment_behind(topology: Reports) -> None:
    client = topology.stack.client("carol")
    topology.standby.catch_up()
    topology.standby.pause()
    topology.forget()
    job = begin_report(client, *today_and_tomorrow())
    eventually(lambda: ask(topology.standby.url("legwork"), LOOKS)[0] > 1, 60, "the worker's looking twice")
    topology.standby.resume()
    assert jobs_created(lines_of_report(client, job)) == 1
    assert topology.big_reads(topology.standby)[1] == FIGURES
    assert topology.big_reads(topology.primary)[1] == 0


def test_a_report_is_read_from_the_primary_when_the_standby_stays_behind(topology: Reports) -> None:
    client = topology.stack.client("dave")
    topology.standby.pause()
    assert jobs_created(report(client, *today_and_tomorrow())) == 1
    assert topology.big_reads(topology.standby)[1] == 0
    assert topology.big_reads(topology.primary)[1] == FIGURES


def test_a_report_is_read_from_the_primary_when_the_standby_has_died(topology: Reports) -> None:
    client = topology.stack.client("eve")
    topology.standby.stop("kill")
    assert jobs_created(report(client, *today_and_tomorrow())) == 1
    assert topology.big_reads(topology.primary)[1] == FIGURES

    topology.standby.start()
    eventually(lambda: reads_from_standby(topology, client), 120, "reports from the standby again")
