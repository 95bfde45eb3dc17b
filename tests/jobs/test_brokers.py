"""Redis and SQS: they wake workers, and whatever happens to them delays jobs and loses none."""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest
from django_q.conf import Conf

from demo.eventually import eventually
from jobs.brokers import redis as redis_broker
from jobs.brokers import sqs as sqs_broker
from jobs.submit import submit
from tests.support.brokers import WAIT, all_are_sent, broker_setting
from tests.support.factories import make_job
from tests.support.servers.redis import Redis
from tests.support.servers.sqs import CREDENTIALS
from tests.support.timeouts import PATIENCE, lost_time

pytest_plugins = ["tests.support.broker_fixtures"]

LONG = 20
"""Seconds: as long as SQS waits at most, and much longer than an answer takes."""


@pytest.fixture(params=["redis", "sqs"])
def broker(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_jobs")


@pytest.mark.django_db(transaction=True)
def test_an_announced_job_is_claimed_by_the_worker_that_it_wakes(broker: Any) -> None:
    low, high = make_job(priority=0), make_job(priority=1)
    broker.notify([low, high])
    broker.wait()
    assert broker.claim("here:1", 1, ()) == [high]
    assert broker.dequeue() is None


@pytest.mark.django_db(transaction=True)
def test_a_waiting_worker_is_woken_at_once(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(broker), "WAIT", LONG)
    patient = type(broker)("legwork")
    for tell in (lambda: broker.notify([make_job()]), lambda: broker.enqueue("a signed package")):
        began = monotonic()
        tell()
        patient.wait()
        assert monotonic() - began < LONG / 2
        assert [package for _, package in patient.dequeue() or []] in ([], ["a signed package"])


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_not_announced_is_claimed_all_the_same(broker: Any) -> None:
    job = make_job()
    assert broker.claim("here:1", 1, ()) == [job]


@pytest.mark.django_db(transaction=True)
def test_a_plain_task_waits_beside_the_wakeups(broker: Any) -> None:
    broker.enqueue("a signed package")
    broker.notify([make_job(queue="mail")])
    messages = []
    for _ in range(3):
        broker.wait()
        messages += broker.dequeue() or []
    [(receipt, package)] = messages
    assert package == "a signed package"
    broker.acknowledge(receipt)


def test_a_plain_task_comes_again_unless_it_is_acknowledged(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.enqueue("a signed package")
    monkeypatch.setattr(Conf, "RETRY", WAIT)
    [first] = taken(broker)
    monkeypatch.setattr(Conf, "RETRY", 10 * LONG)
    [(receipt, package)] = taken(broker)
    assert package == first[1]
    broker.acknowledge(receipt)
    assert (broker.queue_size(), broker.lock_size()) == (0, 0)


def test_a_plain_task_that_is_released_is_due_again_at_once(broker: Any) -> None:
    broker.enqueue("a signed package")
    [(receipt, _)] = taken(broker)
    broker.release(receipt)
    [(receipt, package)] = taken(broker)
    assert package == "a signed package"
    broker.acknowledge(receipt)
    broker.release(receipt)  # it has been acknowledged: there is nothing to bring back
    assert (broker.queue_size(), broker.lock_size()) == (0, 0)


def test_bulk_is_how_many_plain_tasks_are_taken_at_once(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "BULK", 2)
    for number in range(3):
        broker.enqueue(f"package {number}")
    assert len(taken(broker)) == 2
    assert len(taken(broker)) == 1


@pytest.mark.parametrize("verb", ["purge_queue", "delete_queue"])
def test_a_queue_that_is_purged_or_deleted_holds_nothing_not_even_what_was_taken(broker: Any, verb: str) -> None:
    broker.enqueue("a signed package")
    broker.enqueue("another")
    assert taken(broker)
    getattr(broker, verb)()
    assert (broker.queue_size(), broker.lock_size()) == (0, 0)


def test_a_broker_that_can_be_used_answers_a_ping(broker: Any) -> None:
    assert broker.ping() is True


def test_a_plain_task_that_runs_is_hidden_for_as_long_as_it_may_take(
    broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs_broker, "VISIBILITY", WAIT)
    broker.enqueue("a signed package")
    taken(broker)
    other, until = type(broker)("legwork"), monotonic() + 2 * WAIT
    while monotonic() < until:
        other.wait()
        assert other.dequeue() is None


def test_of_many_plain_tasks_a_worker_takes_one_and_leaves_the_others(broker: Any) -> None:
    for number in range(3):
        broker.enqueue(f"package {number}")
    broker.wait()
    others = [type(broker)("legwork") for _ in range(2)]
    found = [*(broker.dequeue() or []), *taken(others[0]), *taken(others[1])]
    assert len({receipt for receipt, _ in found}) == 3


def test_a_plain_task_whose_worker_is_stopped_before_it_begins_goes_to_another(
    sqs_jobs: sqs_broker.SQS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker was told to stop while it waited, and the message came all the same."""
    monkeypatch.setattr(sqs_broker, "VISIBILITY", WAIT)
    sqs_jobs.enqueue("a signed package")
    sqs_jobs.wait()
    assert taken(sqs_broker.SQS("legwork"))
    assert sqs_jobs.dequeue() is None


def test_a_worker_that_is_too_busy_to_wait_finds_plain_tasks(broker: Any) -> None:
    broker.enqueue("a signed package")
    assert len(broker.dequeue()) == 1


@pytest.mark.django_db(transaction=True)
def test_an_sqs_queue_that_was_deleted_is_made_anew(sqs_jobs: sqs_broker.SQS) -> None:
    job = make_job()
    sqs_jobs.notify([job])
    sqs_jobs._ask("delete_queue")
    sqs_jobs.notify([job])
    all_are_sent()
    assert sqs_jobs.queue_size() == 1


@pytest.mark.django_db(transaction=True)
def test_a_cluster_of_one_queue_wakes_by_its_jobs_and_claims_no_others(broker: Any) -> None:
    of_mail = type(broker)("mail")
    mail, other = make_job(queue="mail"), make_job(queue="default")
    broker.notify([mail, other])
    of_mail.wait()
    assert of_mail.claim("here:1", 5, [mail.kind]) == [mail]


def test_an_idle_broker_waits_no_longer_than_it_says(broker: Any, caplog: pytest.LogCaptureFixture) -> None:
    broker.queue_size()  # connects
    with lost_time() as lost:
        began = monotonic()
        broker.wait()
        assert WAIT <= monotonic() - began < WAIT + 1 + lost()
    assert caplog.text == ""


def test_a_list_that_nobody_reads_does_not_grow_without_end(
    redis_jobs: redis_broker.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_broker, "MAX_LENGTH", 3)
    redis_broker._message.cache_clear()
    lengths = []
    for _ in range(2 * redis_broker.TRIM_EVERY + 1):
        redis_jobs.send_wakeups({redis_jobs.channel: ["an id"]})
        lengths.append(length(redis_jobs))
    redis_broker._message.cache_clear()
    eventually(lambda: length(redis_jobs) == 3, PATIENCE, "the last cut")
    assert max(lengths) < 3 + redis_broker.TRIM_EVERY


def test_wakeups_go_on_after_redis_has_closed_a_connection(redis_jobs: redis_broker.Redis) -> None:
    for times in (1, 2):
        redis_jobs.send_wakeups({redis_jobs.channel: ["an id", "another"]})
        eventually(lambda times=times: length(redis_jobs) == 2 * times, PATIENCE, "both wake-ups")
        redis_jobs.connection.client_kill_filter(_type="normal", skipme=True)


def test_threads_and_forks_do_not_share_a_connection(redis_jobs: redis_broker.Redis) -> None:
    connections = redis_jobs._unanswered
    redis_jobs.send_wakeups({redis_jobs.channel: ["an id"]})
    [used] = connections._idle
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: redis_jobs.send_wakeups({redis_jobs.channel: ["an id"]}), range(100)))
    assert len(set(map(id, connections._idle))) == len(connections._idle) <= 4
    connections._process = -1  # as in a child after a fork
    redis_jobs.send_wakeups({redis_jobs.channel: ["an id"]})
    assert used not in connections._idle
    eventually(lambda: length(redis_jobs) == 102, PATIENCE, "all wake-ups")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "sqs://eu-west-1/q?endpoint=http://127.0.0.1:1"])
def test_a_broker_that_is_away_raises_no_error(url: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    settings.BROKER = broker_setting(url)
    module = redis_broker if url.startswith("redis") else sqs_broker
    monkeypatch.setattr(redis_broker.Redis, "WAIT", 0.01)
    monkeypatch.setattr(sqs_broker.SQS, "WAIT", 0.01)
    away = (redis_broker.Redis if module is redis_broker else sqs_broker.SQS)("legwork")
    job = make_job()
    away.notify([job])
    away.wait()
    assert away.dequeue() is None
    away.acknowledge("a receipt")
    away.release("a receipt")
    assert away.claim("here:1", 1, ()) == [job]


@pytest.mark.django_db(transaction=True)
def test_a_submitted_job_is_announced_when_its_transaction_commits(
    redis_jobs: redis_broker.Redis, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.brokers.notifier._broker", lambda: redis_jobs)
    submit("demo.countdown", {"seconds": 0})
    eventually(lambda: length(redis_jobs) == 1, PATIENCE, "the wake-up")


def length(broker: redis_broker.Redis) -> int:
    """How many wake-ups wait in its list."""
    return int(broker.connection.llen("legwork:jobs:legwork"))


def taken(broker: Any) -> list[tuple[Any, Any]]:
    """Wait for a plain task; returns what the broker gives out."""

    def look() -> list[tuple[Any, Any]]:
        broker.wait()
        found: list[tuple[Any, Any]] = broker.dequeue() or []
        return found

    return eventually(look, PATIENCE, "a plain task")
