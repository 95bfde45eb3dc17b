"""The application behind HAProxy's two ports: what test_replicas.py shows without it, and writes that move.

HAProxy runs with the configuration of deploy/haproxy. Each test says the times that it measured (pytest -rP).
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Event

import pytest

from demo.eventually import eventually
from demo.processes import Process
from project.replicas.read_your_writes import HAS_REPLAYED
from tests.support.replica_stack import (
    JOB,
    LATER,
    Topology,
    make_job,
    make_primary,
    make_standbys,
    patient_cache,
    reads_own_write,
)
from tests.support.servers.haproxy import HAProxy, prepare
from tests.support.servers.postgresql import accepts_connections
from tests.support.servers.redis import Redis
from tests.support.servers.standby import Standby, ask
from tests.support.stack import Client, Stack
from tests.support.timeouts import lost_time

pytestmark = pytest.mark.xdist_group("haproxy")

CLIENTS = 16


@dataclass
class Proxied(Topology):
    """Servers behind HAProxy, and a cluster that is not started yet."""

    haproxy: HAProxy
    worker: Process

    def settle(self) -> None:
        """Wait until HAProxy uses all servers, and spread the application's connections over them anew."""
        self.start_servers()
        eventually(lambda: self.haproxy.up("replicas") == self.standby_ports, 60, "both standbys' being up")
        self.haproxy.spread_anew()
        self.settled(self.stack.client("reader"), "jobs/")


@dataclass
class Load:
    """The statuses of the answers to clients that send requests all the time."""

    statuses: Counter[int] = field(default_factory=Counter)
    done: Event = field(default_factory=Event)

    def ask_on(self, client: Client, path: str) -> None:
        while not self.done.is_set():
            self.statuses[client.get(path).status_code] += 1

    def goes_on(self, answers: int = 200) -> None:
        """Wait until so many more requests have been answered."""
        target = self.statuses.total() + answers
        eventually(lambda: self.statuses.total() >= target, 120, "the load")


@pytest.fixture(scope="module")
def _topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with ExitStack() as servers:
        primary = make_primary()
        servers.callback(primary.remove)
        prepare(primary)
        standbys = make_standbys(primary)
        for standby in standbys:
            servers.callback(standby.remove)
        haproxy = servers.enter_context(HAProxy([primary, *standbys]))
        env = {
            "REPLICA_URLS": haproxy.read_url("legwork"),
            "REPLICAS_FALL_BACK": "1",
            "CACHE_URL": patient_cache(servers.enter_context(Redis())),
            "WEB_THREADS": "8",
            "WORKERS": "2",
            "RATE_LIMIT_PER_MINUTE": "1000000",
        }
        stack = Stack(haproxy.write_url("legwork"), tmp_path_factory.mktemp("haproxy"), env=env)
        # A running worker queries the primary all the time, which would be counted.
        worker = stack.clusters.pop()
        servers.callback(worker.stop)
        yield Proxied(primary, standbys, servers.enter_context(stack), haproxy, worker)


@pytest.fixture
def topology(_topology: Proxied) -> Proxied:
    _topology.settle()
    return _topology


def test_reads_are_served_by_the_standbys_and_writes_by_the_primary(topology: Proxied) -> None:
    reader, writer = topology.stack.client("reader"), topology.stack.client("writer")
    url = make_job(reader)
    topology.settled(reader, url)
    assert topology.reads_from(reader, url) <= topology.standby_ports

    topology.forget()
    for _ in range(20):
        make_job(writer)
    assert set(topology.statements()) == {topology.primary.port}


@pytest.mark.parametrize("paused", [1, 2], ids=["one paused", "both paused"])
def test_everybody_reads_what_he_has_written_and_nobody_else_pays_for_it(topology: Proxied, paused: int) -> None:
    writer, other = topology.stack.client("writer"), topology.stack.client("other")
    theirs = make_job(other)
    topology.settled(other, theirs)
    for standby in topology.standbys[:paused]:
        standby.pause()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: reads_own_write(writer), range(200)))
    assert Counter(found) == {200: 200}
    assert topology.reads_from(other, theirs) <= topology.standby_ports

    for standby in topology.standbys[:paused]:
        standby.resume()
    topology.settled(writer, "jobs/")


def test_a_standby_that_dies_under_load_costs_nobody_an_answer(topology: Proxied) -> None:
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


def test_connections_that_are_cut_in_the_middle_of_requests_cost_nobody_an_answer(topology: Proxied) -> None:
    with loaded(topology) as load:
        for _ in range(30):
            topology.haproxy.spread_anew()
            load.goes_on(10)
    assert set(load.statuses) == {200}


def test_a_standby_that_lags_is_out_until_it_has_caught_up(topology: Proxied) -> None:
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


def test_without_any_standby_the_read_port_leads_to_the_primary_until_one_is_back(topology: Proxied) -> None:
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


def test_reads_outlive_the_primary_and_writes_move_to_the_standby_that_is_promoted(topology: Proxied) -> None:
    """The last test: afterwards other servers are primary and standby than the tests above need."""
    haproxy, writer = topology.haproxy, topology.stack.client("writer")
    topology.worker.start()
    jobs = [writer.post("jobs/", {**JOB, "params": {"seconds": 1}}, expect=202).json()["id"] for _ in range(10)]
    with loaded(topology) as load:
        for standby in topology.standbys:
            standby.catch_up()
        killed = time.monotonic()
        topology.primary.stop("kill")
        with lost_time() as lost:
            refused = writer.post("jobs/", LATER)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert says("primary killed, a POST refused", topology.seconds_for(refused)) - lost() < 3
        took("primary killed, out", killed, lambda: not haproxy.up("primary"))
        # Longer than standbys may be without WAL while there is a primary.
        eventually(lambda: haproxy.out_for("primary", topology.primary) > 3, 60, "some time without a primary")
        load.goes_on()
        assert haproxy.up("replicas") == topology.standby_ports

        # Promote the standby that has received more WAL: it could not follow the other one.
        heir, other = sorted(topology.standbys, key=Standby.received, reverse=True)
        promoted = time.monotonic()
        heir.promote()
        took("standby promoted, the first POST", promoted, lambda: writer.post("jobs/", LATER).status_code == 202)
        took("standby promoted, the one left behind out", promoted, lambda: not haproxy.up("replicas"))
        # It may be on an old timeline: its position proves nothing.
        assert ask(other.url("legwork"), HAS_REPLAYED % 0) == (False,)
        assert reads_own_write(writer) == 200
        load.goes_on()
    assert set(load.statuses) == {200}
    # Jobs that were running run again once their leases have expired.
    for job in jobs:
        writer.wait_for(job, "succeeded", within=120)
    topology.worker.stop()
    assert topology.reads_from(writer, "jobs/") == {heir.port}

    # Before the old primary is back: WAL of that timeline would keep it from following the new one.
    other.follow(heir)
    topology.standbys = [other]
    took("standby follows the new primary, back", time.monotonic(), lambda: haproxy.up("replicas") == {other.port})
    topology.settled(writer, "jobs/")

    # The old primary is back and takes writes: whatever is written there now would be lost.
    topology.primary.start()
    eventually(lambda: not accepts_connections(haproxy.write_url("legwork")), 60, "the refusal of two primaries")
    topology.primary.stop()
    eventually(lambda: accepts_connections(haproxy.write_url("legwork")), 60, "the return of the write port")


@contextmanager
def loaded(topology: Proxied) -> Iterator[Load]:
    """In this block sixteen clients read a job without a pause."""
    load, client = Load(), topology.stack.client("reader")
    path = make_job(client)
    topology.settled(client, path)
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
def late_after(topology: Proxied, seconds: int) -> Iterator[None]:
    """In this block a standby counts as late after so many seconds of lag, however few bytes it is behind."""
    url = topology.primary.url()
    for name, value in {"late_seconds": seconds, "late_bytes": 0}.items():
        ask(url, f"ALTER ROLE haproxy SET haproxy.{name} = '{value}'")
    try:
        yield
    finally:
        prepare(topology.primary)


def took(what: str, since: float, condition: Callable[[], object]) -> None:
    """Wait for the condition, and print how long that took."""
    eventually(condition, 60, what)
    says(what, time.monotonic() - since)


def says(what: str, seconds: float) -> float:
    sys.stdout.write(f"{what}: {seconds:.1f} s\n")
    return seconds
