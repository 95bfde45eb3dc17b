"""Fixtures: one simulator and one receiver of its webhooks for a whole run, fresh for each test.

A test module takes them by `pytest_plugins = ["tests.simulator_fixtures"]`.
"""

from collections.abc import Iterator

import pytest

from tests.servers.simulator import Simulator
from tests.servers.webhook_receiver import WebhookReceiver

QUICK = 0.001
"""Mailgun's hour in 3.6 seconds."""


@pytest.fixture(scope="session")
def _receiver() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def _simulator(_receiver: WebhookReceiver) -> Iterator[Simulator]:
    with Simulator(_receiver.url, time_scale=QUICK) as simulator:
        yield simulator


@pytest.fixture
def receiver(_receiver: WebhookReceiver) -> WebhookReceiver:
    return _receiver


@pytest.fixture
def simulator(_simulator: Simulator, receiver: WebhookReceiver) -> Simulator:
    _simulator.clear()
    receiver.clear()
    return _simulator
