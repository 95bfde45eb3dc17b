"""The application behind HAProxy's two ports: what test_replicas.py shows without it, and writes that move.

HAProxy runs with the configuration of deploy/haproxy. Each test says the times that it measured (pytest -rP).
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

import pytest

from demo.eventually import eventually
from project.reads import HAS_REPLAYED
from tests.servers.haproxy import HAProxy, prepare
from tests.servers.postgresql import PostgreSQL, accepts_connections
from tests.servers.redis import Redis
from tests.servers.standby import Standby, ask
from tests.stack import Client, Stack

pytestmark = pytest.mark.xdist_group("haproxy")

COUNTED = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "off"}
COUNT = """
    SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements WHERE query ~* '(jobs_job|project_token|auth_user)'
"""
CLIENTS = 16
JOB = {"kind": "demo.countdown", "params": {"seconds": 0}}
LATER = {**JOB, "run_at": "2100-01-01T00:00:00Z"}


@dataclass
class Topology:
    """A primary, two standbys, HAProxy before them, a shared cache, a web process, and a cluster that waits."""

    primary: PostgreSQL
    standbys: list[Standby]
    haproxy: HAProxy
    stack: Stack

    @property
    def standby_ports(self) -> set[int]:
        return {standby.port for standby in self.standbys}

    def settle(self) -> None:
        """Until HAProxy has all servers in their places and the application's connections are spread anew."""
        for standby in self.standbys:
            standby.start()
            standby.resume()
            standby.catch_up()
        eventually(lambda: self.haproxy.up("replicas") == self.standby_ports, 20, "both standbys' being up")
        self.haproxy.spread_anew()
        client = self.stack.client("settler")
        eventually(lambda: self.reads_from(client, "jobs/") == self.standby_ports, 40, "reads from both standbys")

    @property
    def running(self) -> list[PostgreSQL]:
        return [server for server in self.haproxy.servers if accepts_connections(server.url())]

    def forget(self) -> None:
        for server in self.running:
            ask(server.url("legwork"), "SELECT pg_stat_statements_reset()")

    def statements(self) -> Counter[int]:
        """How many statements of requests each server has run, by port."""
        return Counter({server.port: ask(server.url("legwork"), COUNT)[0] for server in self.running})

    def reads_from(self, client: Client, path: str) -> set[int]:
        """The ports of the servers that answer a few dozen reads."""
        self.forget()
        with ThreadPoolExecutor(CLIENTS) as threads:
            for answer in threads.map(lambda _: client.another().get(path), range(2 * CLIENTS)):
                assert answer.status_code == 200
        return {port for port, count in self.statements().items() if count}


@dataclass
class Load:
    """What clients that do not stop asking were answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    done: Event = field(default_factory=Event)

    def ask_on(self, client: Client, path: str) -> None:
        while not self.done.is_set():
            self.statuses[client.get(path).status_code] += 1

    def goes_on(self, answers: int = 200) -> None:
        """Until so many more requests have been answered."""
        target = self.statuses.total() + answers
        eventually(lambda: self.statuses.total() >= target, 60, "the load")


@pytest.fixture(scope="module")
def _topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    # What was answered must not be lost with the primary: commits are sent on at once.
    with PostgreSQL(settings={**COUNTED, "synchronous_commit": "on"}) as primary, Redis() as redis:
        prepare(primary)
        ask(primary.create_database("legwork"), "CREATE EXTENSION pg_stat_statements")
        standbys = [Standby(primary) for _ in range(2)]
        for standby in standbys:
            standby.start()
        try:
            with HAProxy([primary, *standbys]) as haproxy:
                env = {
                    "REPLICA_URLS": haproxy.read_url("legwork"),
                    "REPLICAS_FALL_BACK": "1",
                    "CACHE_URL": redis.url(),
                    "WEB_THREADS": "8",
                    "WORKERS": "2",
                    "RATE_LIMIT_PER_MINUTE": "1000000",
                }
                with Stack(haproxy.write_url("legwork"), tmp_path_factory.mktemp("haproxy"), env=env) as stack:
                    # What workers ask of the primary all the time would be counted.
                    stack.process("worker").stop()
                    yield Topology(primary, standbys, haproxy, stack)
        finally:
            for standby in standbys:
                standby.remove()


@pytest.fixture
def topology(_topology: Topology) -> Topology:
    _topology.settle()
    return _topology


def test_reads_are_served_by_the_standbys_and_writes_by_the_primary(topology: Topology) -> None:
    reader, writer = topology.stack.client("reader"), topology.stack.client("writer")
    url = make_job(reader)
    settled(topology, reader, url)
    assert topology.reads_from(reader, url) == topology.standby_ports

    topology.forget()
    for _ in range(20):
        make_job(writer)
    assert set(+topology.statements()) == {topology.primary.port}


@pytest.mark.parametrize("paused", [1, 2], ids=["one paused", "both paused"])
def test_everybody_reads_what_he_has_written_and_nobody_else_pays_for_it(topology: Topology, paused: int) -> None:
    writer, other = topology.stack.client("writer"), topology.stack.client("other")
    theirs = make_job(other)
    settled(topology, other, theirs)
    for standby in topology.standbys[:paused]:
        standby.pause()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: reads_own_write(writer), range(200)))
    assert Counter(found) == {200: 200}
    assert topology.reads_from(other, theirs) == topology.standby_ports

    for standby in topology.standbys[:paused]:
        standby.resume()
    settled(topology, writer, "jobs/")


def test_a_standby_that_dies_under_load_costs_nobody_an_answer(topology: Topology) -> None:
    dying, other = topology.standbys
    with loaded(topology) as load:
        killed = time.monotonic()
        dying.stop("kill")
        took("standby killed, out", killed, lambda: topology.haproxy.up("replicas") == {other.port})
        load.goes_on()
        started = time.monotonic()
        dying.start()
        took("standby started, back", started, lambda: topology.haproxy.up("replicas") == topology.standby_ports)
        load.goes_on()
    assert set(load.statuses) == {200}


def test_connections_that_are_cut_in_the_middle_of_requests_cost_nobody_an_answer(topology: Topology) -> None:
    with loaded(topology) as load:
        for _ in range(30):
            topology.haproxy.spread_anew()
            load.goes_on(10)
    assert set(load.statuses) == {200}


def test_a_standby_that_lags_is_out_until_it_has_caught_up(topology: Topology) -> None:
    late, other = topology.standbys
    with late_after(topology, seconds=1), loaded(topology) as load:
        late.pause()
        paused = time.monotonic()
        make_job(topology.stack.client("writer"))
        took("replay paused, out", paused, lambda: topology.haproxy.up("replicas") == {other.port})
        took(
            "replay paused, its last session cut", paused, lambda: not topology.haproxy.sessions("replicas")[late.port]
        )
        load.goes_on()
        resumed = time.monotonic()
        late.resume()
        took("replay resumed, back", resumed, lambda: topology.haproxy.up("replicas") == topology.standby_ports)
    assert set(load.statuses) == {200}


def test_without_any_standby_the_read_port_leads_to_the_primary_until_one_is_back(topology: Topology) -> None:
    haproxy, primary = topology.haproxy, topology.primary
    with loaded(topology) as load:
        killed = time.monotonic()
        for standby in topology.standbys:
            standby.stop("kill")
        took(
            "both standbys killed, reads on the primary",
            killed,
            lambda: haproxy.sessions("replicas", "primary")[primary.port],
        )
        load.goes_on()
        started = time.monotonic()
        topology.standbys[0].start()
        took(
            "standby started, reads off the primary",
            started,
            lambda: not any(haproxy.sessions("replicas", "primary").values()),
        )
        load.goes_on()
    assert set(load.statuses) == {200}


def test_reads_outlive_the_primary_and_writes_move_to_the_standby_that_is_promoted(topology: Topology) -> None:
    """It leaves other servers in other places than the tests above need: it is the last one."""
    haproxy, (heir, other) = topology.haproxy, topology.standbys
    topology.stack.process("worker").start()
    writer = topology.stack.client("writer")
    jobs = [writer.post("jobs/", {**JOB, "params": {"seconds": 1}}, expect=202).json()["id"] for _ in range(10)]
    with loaded(topology) as load:
        for standby in topology.standbys:
            standby.catch_up()
        killed = time.monotonic()
        topology.primary.stop("kill")
        refused = writer.post("jobs/", LATER, timeout=3)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        took("primary killed, out", killed, lambda: not haproxy.up("primary"))
        # Longer than standbys are borne with that miss a primary which is there.
        eventually(lambda: haproxy.out_for("primary", topology.primary) > 3, 20, "some time without a primary")
        load.goes_on()
        assert haproxy.up("replicas") == topology.standby_ports

        promoted = time.monotonic()
        heir.promote()
        took("standby promoted, the first POST", promoted, lambda: writer.post("jobs/", LATER).status_code == 202)
        took("standby promoted, the one left behind out", promoted, lambda: not haproxy.up("replicas"))
        # Whatever it has replayed came from the dead primary, and proves nothing.
        assert ask(other.url("legwork"), HAS_REPLAYED % 0) == (False,)
        assert reads_own_write(writer) == 200
        load.goes_on()
    assert set(load.statuses) == {200}
    assert topology.reads_from(writer, "jobs/") == {heir.port}
    for job in jobs:
        writer.wait_for(job, "succeeded", within=40)
    topology.stack.process("worker").stop()

    # The old one is back, and nobody told it: who connects now might write where it is lost.
    topology.primary.start()
    eventually(lambda: not accepts_connections(haproxy.write_url("legwork")), 20, "the refusal of two primaries")
    topology.primary.stop()
    eventually(lambda: accepts_connections(haproxy.write_url("legwork")), 20, "the return of the write port")

    other.follow(heir)
    topology.standbys = [other]
    took("standby follows the new primary, back", time.monotonic(), lambda: haproxy.up("replicas") == {other.port})
    settled(topology, writer, "jobs/")


def make_job(client: Client) -> str:
    return str(client.post("jobs/", LATER, expect=202).headers["Location"])


def reads_own_write(client: Client) -> int:
    another = client.another()
    return another.get(make_job(another)).status_code


def settled(topology: Topology, client: Client, path: str) -> None:
    """Until this client, who has written, reads from standbys again."""
    for standby in topology.standbys:
        standby.catch_up()
    eventually(lambda: topology.reads_from(client, path) <= topology.standby_ports, 40, "reads from the standbys")


@contextmanager
def loaded(topology: Topology) -> Iterator[Load]:
    """In this block sixteen clients read a job without a break."""
    load, client = Load(), topology.stack.client("reader")
    path = make_job(client)
    settled(topology, client, path)
    with ThreadPoolExecutor(CLIENTS) as threads:
        asking = [threads.submit(load.ask_on, client.another(), path) for _ in range(CLIENTS)]
        try:
            load.goes_on()
            yield load
        finally:
            load.done.set()
    for each in asking:
        each.result()


@contextmanager
def late_after(topology: Topology, seconds: int) -> Iterator[None]:
    """In this block a standby is late when it has not shown for so long what it has received, be it ever so little."""
    url = topology.primary.url()
    for name, value in {"late_seconds": seconds, "late_bytes": 0}.items():
        ask(url, f"ALTER ROLE haproxy SET haproxy.{name} = '{value}'")
    try:
        yield
    finally:
        prepare(topology.primary)


def took(what: str, since: float, condition: Callable[[], object]) -> None:
    """Waits for it, and says how long it took."""
    eventually(condition, 30, what)
    sys.stdout.write(f"{what}: {time.monotonic() - since:.1f} s\n")
