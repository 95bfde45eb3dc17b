"""How workers are told of jobs on Redis and SQS: of all that waits, in few messages, and without delaying a POST."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from time import monotonic
from typing import Any

import pytest
from botocore.exceptions import ClientError
from django.db import DatabaseError, transaction
from rest_framework.test import APIClient
from structlog.testing import capture_logs

from demo.eventually import eventually
from jobs.brokers import breaker, notifier
from jobs.brokers import redis as redis_broker
from jobs.brokers import sqs as sqs_broker
from jobs.brokers.messages import POLL
from jobs.brokers.wakeups import MAX_WAKEUPS
from jobs.models import Job
from jobs.submit import submit, submit_many
from tests.support.brokers import all_are_sent, broker_setting
from tests.support.factories import make_job
from tests.support.servers.redis import Redis
from tests.support.servers.sqs import CREDENTIALS

pytest_plugins = ["tests.support.broker_fixtures", "tests.support.api_fixtures"]

pytestmark = pytest.mark.django_db(transaction=True)

LONG = 20
"""Seconds: much longer than anything here takes that does not hang."""
WORKER = "here:1"
GOOD = {"kind": "demo.countdown", "params": {"seconds": 0}}


@pytest.fixture(params=["redis", "sqs"])
def broker(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_jobs")


class Ear:
    """A broker that only records its notifications, and raises `failure` then if there is one."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.heard: list[list[Job]] = []
        self.failure = failure

    def notify(self, jobs: list[Job]) -> None:
        self.heard.append(list(jobs))
        if self.failure:
            raise self.failure


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Ear:
    ear = Ear()
    monkeypatch.setattr(notifier, "_broker", lambda: ear)
    return ear


class SilentServer:
    """Accepts every connection and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._taken: list[socket.socket] = []

    @cached_property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def connections(self) -> int:
        """How many were accepted so far."""
        while True:
            try:
                self._taken.append(self._socket.accept()[0])
            except BlockingIOError:
                return len(self._taken)

    def close(self) -> None:
        for each in (self._socket, *self._taken):
            each.close()


@pytest.fixture
def silent_server() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.close()


@pytest.fixture(params=["redis://{}/0", "sqs://eu-west-1/q?endpoint=http://{}"], ids=["redis", "sqs"])
def silent(
    request: pytest.FixtureRequest, silent_server: SilentServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A broker whose server never answers. A notification times out soon; a worker would wait for LONG."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for module, kind in ((redis_broker, redis_broker.Redis), (sqs_broker, sqs_broker.SQS)):
        monkeypatch.setattr(module, "NOTIFY_TIMEOUT", 0.1)
        monkeypatch.setattr(kind, "WAIT", LONG)
    settings.BROKER = broker_setting(request.param.format(silent_server.address))
    made = (redis_broker.Redis if "redis" in request.param else sqs_broker.SQS)("legwork")
    monkeypatch.setattr(notifier, "_broker", lambda: made)
    return made


def waiting_wakeups(broker: Any, queue: str = "legwork") -> int:
    if isinstance(broker, redis_broker.Redis):
        return int(broker.connection.llen(f"legwork:jobs:{queue}"))
    return int(sqs_broker.SQS(queue).queue_size())


@pytest.mark.parametrize("failure", [ValueError("bad port"), OSError("away"), RuntimeError("whatever")])
def test_a_post_succeeds_whatever_the_broker_raises(
    api: APIClient, ear: Ear, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    ear.failure = failure
    for path, body in (("jobs/", GOOD), ("jobs/batch/", {"jobs": [GOOD]})):
        assert api.post(f"/api/v1/{path}", body, format="json").status_code == 202
    assert len(ear.heard) == Job.objects.count() == 2
    lines = Counter(record.msg["event"] for record in caplog.records if isinstance(record.msg, dict))
    is_outage = isinstance(failure, OSError)
    assert (lines["outage_began"], lines["broker_call_failed"]) == ((1, 0) if is_outage else (0, 2))


def test_a_post_succeeds_if_the_broker_cannot_even_be_made(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("there is no such broker")

    monkeypatch.setattr(notifier, "_broker", fail)
    assert api.post("/api/v1/jobs/", GOOD, format="json").status_code == 202


def test_a_silent_broker_holds_one_post_for_a_moment_and_the_next_ones_not_at_all(
    api: APIClient, silent: Any, silent_server: SilentServer
) -> None:
    began = monotonic()
    for _ in range(3):
        assert api.post("/api/v1/jobs/", GOOD, format="json").status_code == 202
    assert monotonic() - began < LONG / 2
    assert silent_server.connections() == 1


def test_a_suspended_redis_delays_no_post(redis_jobs: redis_broker.Redis, redis_server: Redis) -> None:
    job = make_job()
    redis_jobs.notify([job])
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        with capture_logs() as logs:
            for _ in range(2):
                redis_jobs.notify([job])
            all_are_sent()
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    assert logs == []
    eventually(lambda: waiting_wakeups(redis_jobs) == 3, LONG, "all wake-ups")


def test_a_silent_broker_is_tried_again_after_a_while(
    silent: Any, silent_server: SilentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "OPEN_SECONDS", 0)
    for _ in range(3):
        submit("demo.countdown", {"seconds": 0})
        all_are_sent()
    assert silent_server.connections() == 3


def test_a_transaction_announces_once_whatever_it_stores(ear: Ear) -> None:
    with transaction.atomic():
        jobs = [submit("demo.countdown", {"seconds": 0}, unique_key=key) for key in "ab"]
        submit_many("demo.countdown", [{"seconds": 0}] * 3)
        assert ear.heard == []
    [heard] = ear.heard
    assert heard[:2] == jobs


def test_jobs_stored_after_a_rolled_back_savepoint_are_announced(ear: Ear) -> None:
    with transaction.atomic():
        roll_back_one()
        job = submit("demo.countdown", {"seconds": 0})
    assert [heard[-1] for heard in ear.heard] == [job]


def test_a_rolled_back_job_is_not_announced_with_the_next(ear: Ear) -> None:
    roll_back_one()
    with transaction.atomic():
        job = submit("demo.countdown", {"seconds": 0})
    assert ear.heard == [[job]]


def roll_back_one() -> None:
    with transaction.atomic():
        submit("demo.countdown", {"seconds": 0})
        transaction.set_rollback(True)


def test_a_batch_of_hundreds_is_announced_once_in_few_messages(
    api: APIClient, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (redis_broker, sqs_broker):
        monkeypatch.setattr(module, "NOTIFY_TIMEOUT", LONG)  # a busy machine may need more than a second
    told: list[Any] = []
    tell = broker.send_wakeups
    monkeypatch.setattr(broker, "send_wakeups", lambda wakeups: (told.append(wakeups), tell(wakeups)))
    monkeypatch.setattr(notifier, "_broker", lambda: broker)
    jobs = [*[GOOD] * 300, *[{**GOOD, "unique_key": str(number)} for number in range(5)]]
    assert api.post("/api/v1/jobs/batch/", {"jobs": jobs}, format="json").json()["accepted"] == 305
    assert len(told) == 1
    assert waiting_wakeups(broker) == MAX_WAKEUPS


def test_a_woken_worker_that_leaves_work_behind_wakes_another(broker: Any) -> None:
    """So one message is enough for all jobs, if the others are lost or if it stands for several."""
    workers = [type(broker)("legwork") for _ in range(3)]
    for _ in workers:
        make_job()
    broker.send_wakeups({broker.channel: [POLL]})
    for number, worker in enumerate(workers):
        assert waiting_wakeups(broker) == 1
        worker.wait()
        assert len(worker.claim(f"here:{number}", 1, ())) == 1
    assert waiting_wakeups(broker) == 0


def test_a_worker_that_was_not_woken_wakes_nobody(broker: Any) -> None:
    make_job(), make_job()
    assert broker.claim(WORKER, 1, ())
    assert waiting_wakeups(broker) == 0


def test_what_is_claimed_is_not_lost_when_nobody_else_can_be_woken(
    redis_jobs: redis_broker.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(), make_job()
    redis_jobs.send_wakeups({redis_jobs.channel: [POLL]})
    redis_jobs.wait()

    def fail() -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(redis_jobs, "_first_due", fail)
    assert len(redis_jobs.claim(WORKER, 1, ())) == 1


def overdue() -> None:
    make_job("scheduled", run_at=make_job("succeeded").created_at)


def back_from_another_worker() -> None:
    make_job("running").hand_back()


def restarted() -> None:
    make_job("failed").restart()


@pytest.mark.parametrize("happen", [overdue, back_from_another_worker, restarted])
def test_a_dispatcher_announces_due_jobs_that_nobody_has_announced(broker: Any, happen: Callable[[], None]) -> None:
    broker.wake_for_due_jobs()
    assert waiting_wakeups(broker) == 0
    happen()
    broker.wake_for_due_jobs()
    assert waiting_wakeups(broker) == 1


def test_a_dispatcher_announces_a_backlog_again_only_after_a_claim(broker: Any) -> None:
    make_job(), make_job()
    for _ in range(3):
        broker.wake_for_due_jobs()
    assert waiting_wakeups(broker) == 1
    assert broker.claim(WORKER, 1, ())
    broker.wake_for_due_jobs()
    assert waiting_wakeups(broker) == 2


def test_the_dispatcher_of_one_queue_announces_the_jobs_of_that_queue_only(broker: Any) -> None:
    of_mail = type(broker)("mail")
    make_job(queue="default")
    of_mail.wake_for_due_jobs()
    assert waiting_wakeups(broker, "mail") == 0
    make_job(queue="mail")
    of_mail.wake_for_due_jobs()
    assert (waiting_wakeups(broker), waiting_wakeups(broker, "mail")) == (0, 1)


def test_the_sqs_queue_of_one_queue_gets_messages_once_its_cluster_has_made_it(
    sqs_jobs: sqs_broker.SQS, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs_jobs.notify([make_job(queue="mail")])
    assert queues_of(sqs_jobs) == ["legwork"]
    sqs_broker.SQS("mail").wait()
    sqs_jobs._missing_until.clear()
    sqs_jobs.notify([make_job(queue="mail")])
    all_are_sent()
    assert (waiting_wakeups(sqs_jobs), waiting_wakeups(sqs_jobs, "mail")) == (2, 1)


def test_a_missing_sqs_queue_is_not_looked_up_at_every_post(
    sqs_jobs: sqs_broker.SQS, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    find = sqs_broker._find
    monkeypatch.setattr(sqs_broker, "_find", lambda client, name: (asked.append(name), find(client, name))[1])
    for _ in range(3):
        sqs_jobs.notify([make_job(queue="mail")])
        all_are_sent()
    assert len(asked) == 2
    assert waiting_wakeups(sqs_jobs) == 3


def test_a_forbidden_sqs_queue_does_not_keep_messages_from_the_main_one(
    sqs_jobs: sqs_broker.SQS, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = sqs_broker._find

    def find_unless_forbidden(client: Any, name: str) -> str:
        if name.endswith("-mail"):
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetQueueUrl")
        return find(client, name)

    monkeypatch.setattr(sqs_broker, "_find", find_unless_forbidden)
    for count in (1, 2):
        sqs_jobs.notify([make_job(queue="mail")])
        all_are_sent()
        assert waiting_wakeups(sqs_jobs) == count


def queues_of(broker: sqs_broker.SQS) -> list[str]:
    """The names of this broker's SQS queues, as endings behind `legwork`."""
    name = sqs_broker._name(("legwork", False))
    urls = broker.connection.list_queues(QueueNamePrefix=name).get("QueueUrls", [])
    return ["legwork" + url.partition(name)[2] for url in urls]


@pytest.mark.parametrize("for_pools", [False, True])
def test_each_sort_of_worker_is_woken_by_its_own_jobs_and_not_by_the_others(broker: Any, for_pools: bool) -> None:
    """A message that the wrong sort of worker takes would leave the right one waiting for seconds."""
    make = {True: lambda: make_job(pool="test.io"), False: make_job}
    broker.notify([make[for_pools]()])
    broker.for_pools = not for_pools
    assert size_of_channel(broker) == 0
    broker.for_pools = for_pools
    assert size_of_channel(broker) == 1


def size_of_channel(broker: Any) -> int:
    if isinstance(broker, redis_broker.Redis):
        return int(broker.connection.llen(redis_broker._list_of(broker.channel)))
    return int(broker.queue_size())
