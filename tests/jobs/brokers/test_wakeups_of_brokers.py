"""Redis and SQS send the wake-ups of transactions in quick succession together, and survive an error with that."""

from typing import Any

import pytest

from jobs.brokers import wakeups
from jobs.brokers.messages import WakeupBroker
from jobs.brokers.wakeups import Wakeups
from jobs.registry import REMOTE_POOL
from tests.support.brokers import all_are_sent
from tests.support.factories import make_job

pytest_plugins = ["tests.support.broker_fixtures"]

pytestmark = pytest.mark.django_db(transaction=True)

CHANNELS = [("legwork", False), ("default", False)]


@pytest.fixture(params=["redis", "sqs"])
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(wakeups, "JOIN_WITHIN", 1)  # a busy machine may need more than milliseconds for three calls
    return request.getfixturevalue(f"{request.param}_jobs")


@pytest.fixture
def told(broker: Any, monkeypatch: pytest.MonkeyPatch) -> list[Wakeups]:
    """What the broker has sent."""
    told: list[Wakeups] = []
    send = broker.send_wakeups
    monkeypatch.setattr(broker, "send_wakeups", lambda wakeups: (told.append(wakeups), send(wakeups)))
    return told


def test_transactions_in_quick_succession_are_announced_together(broker: Any, told: list[Wakeups]) -> None:
    first, *others = [make_job() for _ in range(4)]
    for job in (first, *others):
        broker.notify([job])
    assert told == [{key: [str(first.pk)] for key in CHANNELS}]
    all_are_sent()
    assert told[1:] == [{key: [str(job.pk) for job in others] for key in CHANNELS}]


def test_a_worker_that_wakes_another_does_not_wait_for_others(broker: Any, told: list[Wakeups]) -> None:
    broker.notify([make_job()])
    broker.wait()
    make_job()
    assert broker.claim("here:1", 1, ())
    assert len(told) == 2


def test_an_error_with_joined_wakeups_is_logged_and_nobody_calls_the_broker_for_a_while(
    broker: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[Wakeups] = []

    def fail(wakeups: Wakeups) -> None:
        tried.append(wakeups)
        raise OSError("away")

    job = make_job()
    broker.notify([job])
    monkeypatch.setattr(broker, "send_wakeups", fail)
    for _ in range(2):
        broker.notify([job])
        all_are_sent()
    assert len(tried) == caplog.text.count("outage_began") == 1


def test_a_remote_job_wakes_nobody_and_delays_no_other(broker: WakeupBroker, told: list[Wakeups]) -> None:
    broker.notify([make_job(pool=REMOTE_POOL)])
    assert told == []
    broker.notify([make_job()])
    assert len(told) == 1
