"""Server-sent events and `Prefer: wait` on a whole stack: through kills and outages nothing is missed or told twice."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import requests

from tests.support.event_stream import EventStream
from tests.support.servers.postgresql import PostgreSQL
from tests.support.stack import Client, Stack
from tests.support.timeouts import PATIENCE, lost_time

FEED = "legwork feed"
"""The name under which the database shows the connection that listens."""
HANG = 5
"""Seconds for which the database stands still."""

LATER = {"kind": "demo.countdown", "params": {"seconds": 1}, "run_at": "2100-01-01T00:00:00Z"}

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("streams")]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="module")
def _stack(server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    env = {"WORKERS": "2", "IO_WORKERS": "1", "LOG_LEVEL": "INFO"}
    with Stack(server.create_database("streams"), tmp_path_factory.mktemp("streams"), mail=True, env=env) as stack:
        yield stack


@pytest.fixture
def stack(_stack: Stack, server: PostgreSQL) -> Stack:
    server.start()
    return _stack.revive()


@pytest.fixture
def client(stack: Stack) -> Client:
    return stack.client()


def post(client: Client, seconds: int = 0, **headers: str) -> Any:
    body = {"kind": "demo.countdown", "params": {"seconds": seconds}}
    return client.post("jobs/", body, expect=202, headers=headers).json()


def success_of(job: Any, stream: EventStream) -> Any:
    """Wait for the event of this job's success; returns the job in it."""
    return stream.wait_for(lambda event: event.data["id"] == job["id"] and event.data["status"] == "succeeded").data


def assert_told_once(*streams: EventStream) -> None:
    """The ids of each job's events grow within a stream and from one to the next, and no state comes twice."""
    last: dict[str, int] = {}
    for event in [event for stream in streams for event in stream.events]:
        assert event.id > last.get(event.data["id"], 0)
        last[event.data["id"]] = event.id


def test_a_stream_begins_with_the_present_state_and_ends_with_the_final_one(stack: Stack, client: Client) -> None:
    job = client.post("jobs/", LATER, expect=202).json()
    with EventStream(client, f"jobs/{job['id']}/events/") as stream:
        stream.wait_for_status("scheduled")
        with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as session, session, session.cursor() as cursor:
            cursor.execute("UPDATE jobs_job SET status = 'queued', run_at = now() WHERE id = %s", [job["id"]])
        stream.wait_for_end()
    assert stream.response.headers["Content-Type"] == "text/event-stream"
    percents = [event.data["progress"]["percent"] for event in stream.events]
    assert percents == sorted(percents)
    assert {event.name for event in stream.events} == {"job"}
    assert stream.events[0].data["status"] == "scheduled"
    assert stream.events[-1].data == client.job(job["id"])
    assert stream.events[-1].data["status"] == "succeeded"
    assert_told_once(stream)


def test_a_client_that_has_the_final_state_is_told_not_to_reconnect(client: Client) -> None:
    job = post(client, Prefer="wait=30")
    with EventStream(client, f"jobs/{job['id']}/events/") as stream:
        stream.wait_for_end()
    [event] = stream.events
    again = client.get(f"jobs/{job['id']}/events/", headers={"Last-Event-ID": str(event.id)})
    assert (again.status_code, again.content) == (204, b"")
    assert client.get(f"jobs/{job['id']}/events/?after={event.id}").status_code == 204
    with EventStream(client, f"jobs/{job['id']}/events/?after={event.id - 1}") as late:
        late.wait_for_end()
    assert late.events == stream.events


def test_one_stream_tells_of_all_jobs_of_its_user_and_of_no_others(stack: Stack, client: Client) -> None:
    stranger = stack.client("stranger")
    with EventStream(client, "jobs/events/") as stream, EventStream(client, "jobs/events/?status=succeeded") as ends:
        stream.wait_until_open()
        ends.wait_until_open()
        foreign = post(stranger, Prefer="wait=30")
        jobs = [post(client) for _ in range(5)]
        for job in jobs:
            done = stream.wait_for(
                lambda event, job=job: (event.data["id"], event.data["status"]) == (job["id"], "succeeded")
            )
            assert done.data == client.job(job["id"])
            ends.wait_for(lambda event, job=job: event.data["id"] == job["id"])
    assert foreign["id"] not in {event.data["id"] for event in stream.events}
    assert {event.data["status"] for event in ends.events} == {"succeeded"}
    assert_told_once(stream)


def test_post_and_get_wait_for_the_end(client: Client) -> None:
    answer = client.post(
        "jobs/",
        {"kind": "demo.countdown", "params": {"seconds": 1}},
        expect=202,
        headers={"Prefer": "respond-async, wait=25"},
    )
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=25"
    assert "Prefer" in answer.headers["Vary"]
    assert "Retry-After" not in answer.headers
    job = post(client, seconds=1)
    held = client.get(job["url"], headers={"Prefer": "wait=25"})
    plain = client.get(job["url"])
    assert held.json() == plain.json()
    assert held.json()["status"] == "succeeded"
    assert held.headers["ETag"] == plain.headers["ETag"]


def test_a_wait_ends_in_time_with_the_newest_state(client: Client) -> None:
    job = post(client, seconds=20)
    with EventStream(client, f"jobs/{job['id']}/events/") as stream:
        stream.wait_for_status("running")
    etag = client.get(job["url"]).headers["ETag"]
    began = time.monotonic()
    held = client.get(job["url"], headers={"Prefer": "wait=2", "If-None-Match": etag})
    assert 1.9 < time.monotonic() - began < PATIENCE
    assert held.status_code in (200, 304)
    if held.status_code == 200:
        assert held.json()["status"] == "running"
        assert held.json()["progress"]["percent"] > 0
    assert held.headers["Retry-After"]
    client.post(f"jobs/{job['id']}/cancellation/")


def test_a_killed_web_process_leaves_no_gap(stack: Stack, client: Client) -> None:
    job = post(client, seconds=6)
    path = f"jobs/{job['id']}/events/"
    first, all_first = EventStream(client, path), EventStream(client, "jobs/events/")
    first.wait_for(lambda event: event.data["progress"]["percent"] > 0)
    all_first.wait_for(lambda event: event.data["id"] == job["id"])

    stack.kill("web")
    first.wait_for_end()
    all_first.wait_for_end()
    stack.revive()

    with (
        EventStream(client, path, first.last_id) as second,
        EventStream(client, "jobs/events/", all_first.last_id) as all_second,
    ):
        second.wait_for_end()
        all_second.wait_for(lambda event: event.data["status"] == "succeeded")
    assert second.events[-1].data["status"] == "succeeded"
    assert_told_once(first, second)
    assert_told_once(all_first, all_second)


def test_a_change_that_is_committed_after_a_later_one_reaches_a_client_cut_off_in_between(
    stack: Stack, client: Client
) -> None:
    early, late = (client.post("jobs/", LATER, expect=202).json() for _ in range(2))
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as session, session.cursor() as cursor:
        with EventStream(client, "jobs/events/") as first:
            first.wait_until_open()
            cursor.execute("UPDATE jobs_job SET priority = 7 WHERE id = %s", [early["id"]])
            client.post(f"jobs/{late['id']}/cancellation/")
            first.wait_for(lambda event: event.data["status"] == "cancelled")
        session.commit()
    with EventStream(client, "jobs/events/", first.last_id) as second:
        second.wait_for(lambda event: event.data["id"] == early["id"] and event.data["priority"] == 7)


def test_head_says_what_a_stream_would_say(client: Client) -> None:
    job = post(client, Prefer="wait=30")
    for path in ("jobs/events/", f"jobs/{job['id']}/events/"):
        head = client.request("HEAD", path)
        assert (head.status_code, head.headers["Content-Type"]) == (200, "text/event-stream")
        assert "Content-Length" not in head.headers


def test_streams_outlast_a_restart_of_the_database(server: PostgreSQL, client: Client) -> None:
    long = post(client, seconds=8)
    with (
        EventStream(client, f"jobs/{long['id']}/events/") as one,
        EventStream(client, "jobs/events/") as every,
    ):
        one.wait_for_status("running")
        every.wait_until_open()
        short = post(client, seconds=3)
        server.restart("fast")
        one.wait_for_end()
        for job in (long, short):
            success_of(job, every)
    assert one.events[-1].data["status"] == "succeeded"
    assert_told_once(one)
    assert_told_once(every)


def test_streams_outlast_the_loss_of_the_listening_connection(server: PostgreSQL, stack: Stack, client: Client) -> None:
    job = post(client, seconds=4)
    with EventStream(client, f"jobs/{job['id']}/events/") as stream:
        stream.wait_for_status("running")
        assert cut(stack) > 0
        stream.wait_for_end()
    assert stream.events[-1].data["status"] == "succeeded"
    assert_told_once(stream)


def cut(stack: Stack) -> int:
    """Terminate the connections that listen for changes; returns how many."""
    return ask(stack, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s", FEED)


def test_the_process_answers_and_streams_go_on_while_the_database_hangs(
    server: PostgreSQL, stack: Stack, client: Client
) -> None:
    job = post(client, seconds=5)
    with EventStream(client, f"jobs/{job['id']}/events/") as stream:
        stream.wait_for_status("running")
        with server.standing_still(), lost_time() as lost:
            began, slowest = time.monotonic(), 0.0
            while time.monotonic() - began < HANG:
                answer = requests.get(f"{stack.url}/healthz", timeout=PATIENCE)
                assert answer.status_code == 200
                slowest = max(slowest, answer.elapsed.total_seconds())
            assert slowest - lost() < 1
            assert not stream.ended
        stream.wait_for_end()
    assert stream.events[-1].data["status"] == "succeeded"
    assert_told_once(stream)


def test_a_stopping_web_process_ends_its_streams_and_says_when_to_come_again(stack: Stack, client: Client) -> None:
    job = post(client, seconds=20)
    with EventStream(client, f"jobs/{job['id']}/events/") as stream:
        stream.wait_for_status("running")
        began = time.monotonic()
        stack.web.stop()
        assert time.monotonic() - began < 15
        stream.wait_for_end()
    assert stream.retry > 0
    assert stream.events[-1].data["status"] == "running"
    stack.revive()
    client.post(f"jobs/{job['id']}/cancellation/")


def test_a_message_is_followed_until_it_is_delivered(client: Client) -> None:
    body = {"to": "ada@example.org", "subject": "Hello", "text": "Hello"}
    message = client.post("mail/messages/", body, expect=202).json()
    with EventStream(client, f"mail/messages/{message['id']}/events/") as stream:
        stream.wait_for_end()
    assert [event.name for event in stream.events] == ["message"] * len(stream.events)
    assert stream.events[-1].data["status"] == "delivered"
    assert stream.events[-1].data == client.get(message["url"]).json()
    assert_told_once(stream)


def test_a_message_that_is_waited_for_comes_with_its_next_status(client: Client) -> None:
    body = {"to": "slow@example.org", "subject": "Hello", "text": "Hello"}
    shown = client.post("mail/messages/", body, expect=202).json()
    seen = [shown["status"]]
    while shown["status"] not in ("delivered", "failed"):
        held = client.get(shown["url"], headers={"Prefer": "wait=30"}, expect=200)
        assert held.headers["Preference-Applied"] == "wait=30" or held.json()["status"] == "delivered"
        shown = held.json()
        assert shown["status"] != seen[-1] or shown["status"] == "delivered"
        seen.append(shown["status"])
    assert seen[-1] == "delivered"


def test_many_streams_hold_neither_threads_nor_connections(stack: Stack, client: Client) -> None:
    job = post(client, seconds=20)
    before = connections(stack)
    streams = [EventStream(client, f"jobs/{job['id']}/events/") for _ in range(30)]
    try:
        for stream in streams:
            stream.wait_for_status("running")
        assert connections(stack) <= before + 1
        assert client.get("jobs/").status_code == 200
        client.post(f"jobs/{job['id']}/cancellation/")
        for stream in streams:
            stream.wait_for_end()
            assert stream.events[-1].data["status"] == "cancelled"
    finally:
        for stream in streams:
            stream.response.close()


def connections(stack: Stack) -> int:
    return ask(stack, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")


def ask(stack: Stack, query: str, *values: object) -> int:
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        return int(cursor.fetchone()[0])
