"""Reads on real streaming replicas: who answers, what lags, what dies, and that nobody reads less than he wrote."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.eventually import eventually
from tests.servers.postgresql import PostgreSQL
from tests.servers.redis import Redis
from tests.servers.standby import Standby, ask
from tests.stack import Client, Stack

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.xdist_group("replicas")

COUNTED = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "off"}
COUNT = """
    SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements
    WHERE query ~* '(jobs_job|project_token|auth_user|django_session)'
"""
"""The statements that requests cause: those of the probe and of the set-up name no table."""


@dataclass
class Topology:
    """A primary, two standbys and a shared cache, with one web process and one cluster on them."""

    primary: PostgreSQL
    standbys: list[Standby]
    stack: Stack

    @property
    def servers(self) -> list[PostgreSQL]:
        return [self.primary, *self.standbys]

    def settle(self) -> None:
        """Until all servers run and all standbys have what the primary has, and requests are read from both."""
        for server in self.servers:
            server.start()
        for standby in self.standbys:
            standby.resume()
            standby.catch_up()
        self.stack.revive()
        client = self.stack.client("settler")
        eventually(lambda: self._both_answer(client), 30, "reads from both standbys")

    def _both_answer(self, client: Client) -> bool:
        self.forget()
        for _ in range(20):
            client.get("jobs/", expect=200)
        counts = self.statements()
        return counts[self.primary.port] == 0 and all(counts[standby.port] for standby in self.standbys)

    def forget(self) -> None:
        for server in self.servers:
            ask(server.url("legwork"), "SELECT pg_stat_statements_reset()")

    def statements(self) -> Counter[int]:
        """How many statements of requests each server has run, by port."""
        return Counter({server.port: ask(server.url("legwork"), COUNT)[0] for server in self.servers})


@pytest.fixture(scope="module")
def _topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with PostgreSQL(settings=COUNTED) as primary, Redis() as redis:
        url = primary.create_database("legwork")
        ask(url, "CREATE EXTENSION pg_stat_statements")
        standbys = [Standby(primary) for _ in range(2)]
        for standby in standbys:
            standby.start()
            standby.catch_up()
        env = {
            "REPLICA_URLS": ",".join(standby.url("legwork") for standby in standbys),
            "CACHE_URL": redis.url(),
            "WEB_THREADS": "8",
        }
        # No worker: what it asks of the primary all the time would be counted.
        with Stack(url, tmp_path_factory.mktemp("replicas"), clusters=0, env=env) as stack:
            yield Topology(primary, standbys, stack)
        for standby in standbys:
            standby.remove()


@pytest.fixture
def topology(_topology: Topology) -> Topology:
    _topology.settle()
    return _topology


def test_authenticated_reads_never_touch_the_primary_and_spread_evenly(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    settled(topology, client, url)
    topology.forget()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.another().get(url).status_code, range(1000)))

    counts = topology.statements()
    assert Counter(answers) == {200: 1000}
    assert counts[topology.primary.port] == 0
    one, other = (counts[standby.port] for standby in topology.standbys)
    assert one + other >= 2000  # the token, and the job
    assert 0.8 < one / other < 1.25


def test_writes_go_to_the_primary_only(topology: Topology) -> None:
    client = topology.stack.client("writer")
    make_job(client)
    topology.forget()
    for _ in range(20):
        make_job(client)

    counts = topology.statements()
    assert counts[topology.primary.port] >= 20
    assert [counts[standby.port] for standby in topology.standbys] == [0, 0]


def test_everybody_reads_what_he_has_written_and_nobody_else_pays_for_it(topology: Topology) -> None:
    writer, other = topology.stack.client("writer"), topology.stack.client("other")
    theirs = make_job(other)
    settled(topology, other, theirs)
    for standby in topology.standbys:
        standby.pause()
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: reads_own_write(writer), range(1000)))
        assert Counter(found) == {200: 1000}

        topology.forget()
        for _ in range(50):
            other.get(theirs, expect=200)
        assert topology.statements()[topology.primary.port] == 0
    finally:
        for standby in topology.standbys:
            standby.resume()
    eventually(lambda: reads_from_standbys(topology, writer, "jobs/"), 40, "the writer's return to the standbys")


def test_a_new_token_and_its_end_are_known_at_once_though_the_standbys_lag(topology: Topology) -> None:
    topology.stack.add_user("login", "a-good-password")
    known = Client.login(topology.stack.url, "login", "a-good-password")
    for standby in topology.standbys:
        standby.catch_up()
        standby.pause()
    try:
        client = Client.login(topology.stack.url, "login", "a-good-password")
        assert reads_own_write(client) == 200
        assert client.delete("tokens/current/").status_code == 204
        assert client.get("jobs/").status_code == 401

        assert known.delete("tokens/current/").status_code == 204
        assert known.get("jobs/").status_code == 401
    finally:
        for standby in topology.standbys:
            standby.resume()


def test_a_standby_that_dies_costs_nobody_an_answer_and_comes_back_within_ten_seconds(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    settled(topology, client, url)
    dying = topology.standbys[0]
    with ThreadPoolExecutor(16) as threads:
        asked = [threads.submit(lambda: client.another().get(url).status_code) for _ in range(1500)]
        eventually(lambda: sum(each.done() for each in asked) > 300, 60, "the load")
        dying.stop("kill")
        statuses = Counter(each.result() for each in asked)
    assert statuses == {200: 1500}

    dying.start()
    eventually(lambda: reads_from_standbys(topology, client, url, all_of_them=True), 10, "the standby's return")


def test_whoever_meets_a_dead_standby_first_is_answered_by_the_primary(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    settled(topology, client, url)
    for standby in topology.standbys:
        standby.stop("kill")
    # At once: the probe need not have noticed yet.
    assert Counter(client.get(url).status_code for _ in range(20)) == {200: 20}


def test_without_the_primary_reads_go_on_and_writes_are_refused_at_once(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    settled(topology, client, url)
    topology.primary.stop("kill")
    try:
        assert Counter(client.get(url).status_code for _ in range(100)) == {200: 100}
        refused = client.post("jobs/", {"kind": "demo.countdown", "params": {"seconds": 0}}, timeout=3)
        assert refused.status_code == 503
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert int(refused.headers["Retry-After"]) > 0
    finally:
        topology.primary.start()
    eventually(lambda: client.post("jobs/", {"kind": "demo.countdown", "params": {"seconds": 0}}).ok, 10, "a POST")


def make_job(client: Client) -> str:
    later = {"kind": "demo.countdown", "params": {"seconds": 0}, "run_at": "2100-01-01T00:00:00Z"}
    return str(client.post("jobs/", later, expect=202).headers["Location"])


def reads_own_write(client: Client) -> int:
    another = client.another()
    return another.get(make_job(another)).status_code


def settled(topology: Topology, client: Client, url: str) -> None:
    for standby in topology.standbys:
        standby.catch_up()
    eventually(lambda: reads_from_standbys(topology, client, url), 40, "reads from the standbys")


def reads_from_standbys(topology: Topology, client: Client, url: str, all_of_them: bool = False) -> bool:
    topology.forget()
    for _ in range(20):
        client.get(url, expect=200)
    counts = topology.statements()
    used = [bool(counts[standby.port]) for standby in topology.standbys]
    return counts[topology.primary.port] == 0 and (all(used) if all_of_them else any(used))


def test_the_table_of_replicas_says_how_each_is_doing(topology: Topology) -> None:
    lagging, dead = topology.standbys
    lagging.pause()
    dead.stop("kill")
    make_job(topology.stack.client("writer"))
    try:
        header, primary, first, second = topology.stack.manage("replicas").splitlines()
    finally:
        lagging.resume()
        dead.start()
    assert header.split("  ")[0] == "name"
    assert re.fullmatch(r"default +primary +[0-9A-F]+/[0-9A-F]+ +good +\d+ %", primary)
    assert re.fullmatch(r"replica1 +standby +[\d.]+ s, [1-9]\d* bytes +[0-9A-F]+/[0-9A-F]+ +good +\d+ %", first)
    assert re.fullmatch(r"replica2 +\? +does not answer", second)


def test_replicas_without_a_shared_cache_are_warned_of(topology: Topology) -> None:
    with_replicas = {"REPLICA_URLS": topology.stack.env["REPLICA_URLS"]}
    alone = run_check({**with_replicas, "CACHE_URL": "locmem://"})
    assert "legwork.W001" in alone
    assert "legwork.W001" not in run_check({**with_replicas, "CACHE_URL": topology.stack.env["CACHE_URL"]})
    assert "legwork.W001" not in run_check({})


def run_check(env: dict[str, str]) -> str:
    command = [sys.executable, "manage.py", "check"]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings.development", **env}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stderr
