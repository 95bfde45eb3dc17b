"""Redis and SQS: they wake workers, and whatever happens to them delays jobs and loses none."""

from collections.abc import Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from demo.eventually import eventually
from jobs.brokers import redis as redis_broker
from jobs.brokers import sqs as sqs_broker
from jobs.submit import submit
from settings import env
from tests.make import make_job
from tests.servers.redis import Redis
from tests.stack import Stack

COUNT_TO_0 = {"kind": "demo.countdown", "params": {"seconds": 0}}


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def sqs_url() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"sqs://eu-west-1/legwork?endpoint=http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def redis_stack(redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from stack_on(redis_server.url(), tmp_path_factory.mktemp("redis"))


def stack_on(broker_url: str, folder: Any) -> Iterator[Stack]:
    environment = {"BROKER_URL": broker_url, "WORKERS": "2", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with Stack(f"sqlite:///{folder}/db.sqlite3", folder, env=environment) as stack:
        yield stack


@pytest.fixture
def redis_jobs(redis_server: Redis, settings: Any) -> redis_broker.Redis:
    settings.BROKER = broker_setting(redis_server.url(1))
    redis_server.command("FLUSHALL")
    return redis_broker.Redis("legwork")


@pytest.fixture
def sqs_jobs(sqs_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> sqs_broker.SQS:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setattr(sqs_broker, "WAIT", 1)
    settings.BROKER = broker_setting(sqs_url)
    return sqs_broker.SQS("legwork")


def together(*about_a_candidate: object) -> bool:
    return True


def alone(*about_a_candidate: object) -> bool:
    """Nothing may be claimed with others."""
    return False


def broker_setting(url: str) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BROKER_URL", url)
        return env.broker("BROKER_URL")


@pytest.fixture(params=["redis", "sqs"])
def broker(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_jobs")


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_announced_is_claimed_by_who_wakes(broker: Any) -> None:
    low, high = make_job(priority=0), make_job(priority=1)
    broker.announce([low, high])
    broker.wait()
    assert broker.claim("here:1", 1, alone) == [high]
    assert broker.dequeue() == []


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_not_announced_is_claimed_all_the_same(broker: Any) -> None:
    job = make_job()
    assert broker.claim("here:1", 1, alone) == [job]


@pytest.mark.django_db(transaction=True)
def test_a_plain_task_waits_beside_the_ids(broker: Any) -> None:
    broker.enqueue("a signed package")
    broker.announce([make_job(queue="mail")])
    messages = []
    for _ in range(3):
        broker.wait()
        messages += broker.dequeue()
    [(receipt, package)] = messages
    assert package in ("a signed package", b"a signed package")
    broker.acknowledge(receipt)


@pytest.mark.django_db(transaction=True)
def test_a_cluster_of_one_queue_wakes_by_its_jobs_and_claims_no_others(broker: Any) -> None:
    of_mail = type(broker)("mail")
    mail, other = make_job(queue="mail"), make_job(queue="default")
    broker.announce([mail, other])
    of_mail.wait()
    assert of_mail.claim("here:1", 5, together) == [mail]


def test_an_idle_broker_waits_no_longer_than_it_says(broker: Any) -> None:
    broker.wait()
    broker.wait()
    assert broker.queue_size() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "sqs://eu-west-1/q?endpoint=http://127.0.0.1:1"])
def test_a_broker_that_is_away_fails_nobody(url: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    settings.BROKER = broker_setting(url)
    module = redis_broker if url.startswith("redis") else sqs_broker
    monkeypatch.setattr(module, "WAIT", 0.01)
    away = (redis_broker.Redis if module is redis_broker else sqs_broker.SQS)("legwork")
    job = make_job()
    away.announce([job])
    away.wait()
    assert away.dequeue() == []
    assert away.claim("here:1", 1, alone) == [job]


@pytest.mark.django_db(transaction=True)
def test_a_submitted_job_is_announced_when_its_transaction_commits(
    redis_jobs: redis_broker.Redis, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.announcement._broker", lambda: redis_jobs)
    job = submit("demo.countdown", {"seconds": 0})
    assert redis_jobs.connection.lrange("legwork:jobs:legwork", 0, -1) == [str(job.pk).encode()]


def test_redis_runs_jobs(redis_stack: Stack) -> None:
    client = redis_stack.client()
    accepted = client.post("jobs/", COUNT_TO_0, expect=202).json()
    assert client.wait_for(accepted["id"], "succeeded")["attempt"] == 1


def test_flushall_in_the_middle_of_five_hundred_jobs_loses_none(redis_stack: Stack, redis_server: Redis) -> None:
    client = redis_stack.client()
    before = finished(client)
    for _ in range(5):
        answer = client.post("jobs/batch/", {"jobs": [COUNT_TO_0] * 100}, expect=202).json()
        assert answer["accepted"] == 100
        redis_server.command("FLUSHALL")
    eventually(lambda: finished(client) == before + 500, 60, "the end of all five hundred jobs")


def test_a_redis_that_is_away_delays_jobs_and_refuses_none(redis_stack: Stack, redis_server: Redis) -> None:
    client = redis_stack.client()
    redis_server.stop("kill")
    try:
        accepted = client.post("jobs/", COUNT_TO_0, expect=202).json()
        client.wait_for(accepted["id"], "succeeded")
    finally:
        redis_server.start()
    accepted = client.post("jobs/", COUNT_TO_0, expect=202).json()
    client.wait_for(accepted["id"], "succeeded")


def test_sqs_runs_jobs(sqs_url: str, tmp_path: Any) -> None:
    for stack in stack_on(sqs_url, tmp_path):
        client = stack.client()
        accepted = client.post("jobs/", COUNT_TO_0, expect=202).json()
        assert client.wait_for(accepted["id"], "succeeded")["attempt"] == 1


def finished(client: Any) -> int:
    count, url = 0, "jobs/?status=succeeded&page_size=200"
    while url:
        page = client.get(url, expect=200).json()
        count += len(page["results"])
        url = page["next"]
    return count


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("amqp://host", "must begin with"),
        ("sqs://eu-west-1", "must name a region and a queue"),
        ("sqs:///queue", "must name a region and a queue"),
    ],
)
def test_a_broker_url_that_makes_no_sense_is_refused_in_one_sentence(url: str, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        broker_setting(url)
