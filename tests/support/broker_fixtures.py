"""Fixtures: the Redis and SQS brokers, each on a real server, in this process.

A test module takes them by `pytest_plugins = ["tests.support.broker_fixtures"]`.
"""

from typing import Any

import pytest

from jobs.brokers import redis as redis_broker
from jobs.brokers import sqs as sqs_broker
from tests.support.brokers import WAIT, broker_setting
from tests.support.servers.redis import Redis
from tests.support.servers.sqs import CREDENTIALS, SQS


@pytest.fixture
def redis_jobs(redis_server: Redis, settings: Any, monkeypatch: pytest.MonkeyPatch) -> redis_broker.Redis:
    monkeypatch.setattr(redis_broker.Redis, "WAIT", WAIT)
    settings.BROKER = broker_setting(redis_server.url(1))
    redis_server.command("FLUSHALL")
    return redis_broker.Redis("legwork")


@pytest.fixture
def sqs_jobs(sqs_server: SQS, settings: Any, monkeypatch: pytest.MonkeyPatch) -> sqs_broker.SQS:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sqs_broker.SQS, "WAIT", WAIT)
    settings.BROKER = broker_setting(sqs_server.url())
    return sqs_broker.SQS("legwork")
