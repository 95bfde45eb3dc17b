"""Reads on real streaming replicas: which server answers, lag, failures, and that users read their own writes."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg2
import pytest
import requests

from demo.eventually import eventually
from tests.support.event_stream import EventStream
from tests.support.replica_stack import (
    JOB,
    Topology,
    make_job,
    make_primary,
    make_standbys,
    patient_cache,
    reads_own_write,
)
from tests.support.servers.redis import Redis
from tests.support.servers.standby import ask
from tests.support.stack import Client, Stack
from tests.support.timeouts import PATIENCE, lost_time

pytestmark = pytest.mark.xdist_group("replicas")


@pytest.fixture(scope="module")
def _topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with ExitStack() as servers:
        primary = make_primary()
        servers.callback(primary.remove)
        standbys = make_standbys(primary)
        for standby in standbys:
            servers.callback(standby.remove)
        env = {
            "REPLICA_URLS": ",".join(standby.url("legwork") for standby in standbys),
            "CACHE_URL": patient_cache(servers.enter_context(Redis())),
            "WEB_THREADS": "8",
            "RATE_LIMIT_PER_MINUTE": "1000000",
        }
        # No worker: it queries the primary all the time, which would be counted.
        stack = Stack(primary.url("legwork"), tmp_path_factory.mktemp("replicas"), clusters=0, env=env)
        yield Topology(primary, standbys, servers.enter_context(stack))


@pytest.fixture
def topology(_topology: Topology) -> Topology:
    """All servers run, and requests are read from both standbys."""
    _topology.start_servers()
    _topology.stack.revive()
    _topology.settled(_topology.stack.client("reader"), "jobs/")
    return _topology


def test_authenticated_reads_never_touch_the_primary_and_spread_evenly(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    topology.settled(client, url)
    topology.forget()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.another().get(url).status_code, range(1000)))

    counts = topology.statements()
    assert Counter(answers) == {200: 1000}
    assert counts[topology.primary.port] == 0
    one, other = (counts[standby.port] for standby in topology.standbys)
    # Requests that come at the same time share a statement, and so a draw: there are at least 125.
    assert one + other >= 125
    assert 0.33 < one / other < 3


def test_writes_go_to_the_primary_only(topology: Topology) -> None:
    client = topology.stack.client("writer")
    make_job(client)
    topology.forget()
    for _ in range(20):
        make_job(client)

    counts = topology.statements()
    assert counts[topology.primary.port] >= 20
    assert set(counts) == {topology.primary.port}


def test_everybody_reads_what_he_has_written_and_nobody_else_pays_for_it(topology: Topology) -> None:
    writer, other = topology.stack.client("writer"), topology.stack.client("other")
    theirs = make_job(other)
    topology.settled(other, theirs)
    for standby in topology.standbys:
        standby.pause()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: reads_own_write(writer), range(1000)))
    assert Counter(found) == {200: 1000}
    assert topology.reads_from(other, theirs) <= topology.standby_ports

    for standby in topology.standbys:
        standby.resume()
    topology.settled(writer, "jobs/")


def test_a_new_token_and_its_end_are_known_at_once_though_the_standbys_lag(topology: Topology) -> None:
    topology.stack.add_user("login", "a-good-password")
    known = Client.login(topology.stack.url, "login", "a-good-password")
    for standby in topology.standbys:
        standby.catch_up()
        standby.pause()
    client = Client.login(topology.stack.url, "login", "a-good-password")
    assert reads_own_write(client) == 200
    assert client.delete("tokens/current/").status_code == 204
    assert client.get("jobs/").status_code == 401

    assert known.delete("tokens/current/").status_code == 204
    assert known.get("jobs/").status_code == 401


def test_a_token_for_credentials_in_the_body_is_in_its_users_list_though_the_standbys_lag(topology: Topology) -> None:
    topology.stack.add_user("device", "a-good-password")
    for standby in topology.standbys:
        standby.catch_up()
        standby.pause()
    client = Client.login(topology.stack.url, "device", "a-good-password")
    assert len(client.get("tokens/", expect=200).json()["results"]) == 1


def test_a_browser_stays_logged_in_when_its_user_changes_the_password_though_the_standbys_lag(
    topology: Topology,
) -> None:
    topology.stack.add_user("browser", "a-good-password", staff=True)
    for standby in topology.standbys:
        standby.catch_up()
        standby.pause()
    browser = Browser(topology.stack.url)
    assert browser.submit("/admin/login/", username="browser", password="a-good-password").history
    new = {"new_password1": "another-good-password", "new_password2": "another-good-password"}
    changed = browser.submit("/admin/password_change/", old_password="a-good-password", **new)
    assert "/admin/password_change/done/" in changed.url
    for _ in range(5):
        assert browser.get("/admin/").url.endswith("/admin/")
        assert browser.get("/api/v1/session/").json()["authenticated"]


def test_a_standby_that_dies_costs_nobody_an_answer_and_comes_back_within_ten_seconds(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    topology.settled(client, url)
    dying = topology.standbys[0]
    out, back = said(topology, "replica_out"), said(topology, "replica_back")
    with ThreadPoolExecutor(16) as threads:
        asked = [threads.submit(lambda: client.another().get(url).status_code) for _ in range(900)]
        eventually(lambda: sum(each.done() for each in asked) > 300, 120, "the load")
        dying.stop("kill")
        statuses = Counter(each.result() for each in asked)
    assert statuses == {200: 900}
    eventually(lambda: said(topology, "replica_out") > out, 60, "the standby's being put out", pause=0.1)

    dying.start()
    started = time.monotonic()
    with lost_time() as lost:
        eventually(lambda: said(topology, "replica_back") > back, 60, "the standby's return", pause=0.1)
    assert time.monotonic() - started - lost() < 10
    topology.settled(client, url)


def test_a_standby_that_hangs_costs_no_request_its_answer(topology: Topology) -> None:
    """It accepts every query and answers none, so that no error shows it."""
    client = topology.stack.client("reader")
    url = make_job(client)
    topology.settled(client, url)
    out, back = said(topology, "replica_out"), said(topology, "replica_back")
    with ThreadPoolExecutor(16) as threads, topology.standbys[0].standing_still():
        asked = [threads.submit(lambda: client.another().get(url).status_code) for _ in range(200)]
        statuses = Counter(each.result() for each in asked)
        eventually(lambda: said(topology, "replica_out") > out, 60, "the standby's being put out", pause=0.1)
    assert statuses == {200: 200}
    eventually(lambda: said(topology, "replica_back") > back, 60, "the standby's return", pause=0.1)
    topology.settled(client, url)


def test_while_the_primary_hangs_reads_go_on_and_writes_are_refused(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    topology.settled(client, url)
    with topology.primary.standing_still():
        with lost_time() as lost:
            refused = client.post("jobs/", JOB)
        assert refused.status_code == 503
        # Two seconds for each of two tries: gathered with others, and in the plain view.
        assert topology.seconds_for(refused) - lost() < 5
        assert Counter(client.get(url).status_code for _ in range(100)) == {200: 100}
    # Until the next probe a request that needs another connection than the first one is still refused.
    eventually(lambda: all(client.another().post("jobs/", JOB).ok for _ in range(20)), 60, "POSTs by all", pause=0.1)
    assert Counter(reads_own_write(client) for _ in range(20)) == {200: 20}


def test_a_request_that_meets_a_dead_standby_is_answered_by_the_primary(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    topology.settled(client, url)
    for standby in topology.standbys:
        standby.stop("kill")
    # At once, when the probe may not have noticed yet.
    assert Counter(client.get(url).status_code for _ in range(20)) == {200: 20}


def test_without_the_primary_reads_go_on_and_writes_are_refused_at_once(topology: Topology) -> None:
    client = topology.stack.client("reader")
    url = make_job(client)
    topology.settled(client, url)
    topology.primary.stop("kill")
    assert Counter(client.get(url).status_code for _ in range(100)) == {200: 100}
    with lost_time() as lost:
        refused = client.post("jobs/", JOB)
    assert refused.status_code == 503
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert int(refused.headers["Retry-After"]) > 0
    assert topology.seconds_for(refused) - lost() < 3
    browser = Browser(topology.stack.url)
    assert browser.get("/api/v1/session/", cookies={"sessionid": "unknown-here"}).status_code == 503
    topology.primary.start()
    eventually(lambda: client.post("jobs/", JOB).ok, 60, "a POST", pause=0.1)
    assert Counter(reads_own_write(client) for _ in range(20)) == {200: 20}


class Browser(requests.Session):
    """Keeps its cookies, and sends forms as the admin's pages have them."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return super().request(method, self._url + path.removeprefix(self._url), **{"timeout": 60, **options})

    def submit(self, path: str, **fields: str) -> requests.Response:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path).text)
        assert token
        return self.post(path, data={"csrfmiddlewaretoken": token[1], **fields}, headers={"Referer": self._url + path})


def said(topology: Topology, event: str) -> int:
    return topology.log.count(f" {event} ")


def test_the_table_of_replicas_says_how_each_is_doing(topology: Topology) -> None:
    lagging, dead = topology.standbys
    lagging.pause()
    dead.stop("kill")
    make_job(topology.stack.client("writer"))
    written = f"SELECT pg_current_wal_lsn() > '{ask(lagging.url(), 'SELECT pg_last_wal_replay_lsn()')[0]}'"
    eventually(lambda: ask(topology.primary.url(), written)[0], 60, "the standby's being behind")
    header, primary, first, second = topology.stack.manage("replicas").splitlines()
    assert header.split("  ")[0] == "name"
    assert re.fullmatch(r"default +primary +[0-9A-F]+/[0-9A-F]+ +good +\d+ %", primary)
    assert re.fullmatch(r"replica1 +standby +[\d.]+ s, [1-9]\d* bytes +[0-9A-F]+/[0-9A-F]+ +good +\d+ %", first)
    assert re.fullmatch(r"replica2 +\? +does not answer", second)


def test_a_stream_and_a_wait_tell_what_the_primary_knows_though_the_standbys_lag(topology: Topology) -> None:
    client, canceller = topology.stack.client("watcher"), topology.stack.client("watcher").another()
    streamed, waited_for = make_job(client), make_job(client)
    topology.settled(client, streamed)
    for standby in topology.standbys:
        standby.pause()
    with (
        EventStream(client, f"{streamed}events/") as stream,
        EventStream(client, "jobs/events/") as every,
        ThreadPoolExecutor(1) as thread,
    ):
        stream.wait_for_status("scheduled")
        every.wait_until_open()
        held = thread.submit(client.another().get, waited_for, headers={"Prefer": "wait=30"})
        for job in (streamed, waited_for):
            canceller.post(f"{job}cancellation/", expect=200)
        stream.wait_for_end()
        every.wait_for(lambda event: event.data["url"] == waited_for)
    assert [event.data["status"] for event in stream.events] == ["scheduled", "cancelled"]
    assert held.result().json()["status"] == "cancelled"


def test_a_lagging_standby_and_a_held_snapshot_are_on_the_dashboard_within_seconds(topology: Topology) -> None:
    topology.stack.add_user("operator", "a-good-password", staff=True)
    browser = Browser(topology.stack.url)
    browser.submit("/admin/login/", username="operator", password="a-good-password")
    held = psycopg2.connect(topology.primary.url("legwork"), application_name="a long report")
    held.set_session(isolation_level="REPEATABLE READ")
    lagging, _ = topology.standbys
    try:
        with lost_time() as lost:
            lagging.pause()
            make_job(topology.stack.client("writer"))
            with held.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM jobs_job")
            began = time.monotonic()
            shown = re.compile(r"<td>replica1</td><td><span [^>]*>lags</span>.*a long report .*holds back vacuum", re.S)
            eventually(lambda: shown.search(browser.get("/admin/?live=now").text), PATIENCE, "the rows", pause=0.2)
            assert time.monotonic() - began - lost() < 5
        lags = re.compile(r"The replica replica1 lags: .* behind\.")
        holds = re.compile(r"NOTE  A transaction of .*a long report.* holds back vacuum")
        eventually(
            lambda: lags.search(said := topology.stack.doctor()) and holds.search(said), PATIENCE, "the doctor's words"
        )
        assert "The replica replica2" not in topology.stack.doctor()
    finally:
        held.close()
        lagging.resume()
    lagging.catch_up()
    eventually(lambda: "lags" not in topology.stack.doctor(), PATIENCE, "the doctor's silence")
