"""Fixtures: one simulator and one receiver of its webhooks for a whole run, fresh for each test.

A test module takes them by `pytest_plugins = ["tests.support.mail.simulator_fixtures"]`.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.support.mail.sending import provider, sending_by
from tests.support.servers.simulator import FURTHER_DOMAIN, Simulator
from tests.support.servers.webhook_receiver import WebhookReceiver

QUICK = 0.0001
"""Mailgun's hour in 0.36 seconds."""


@pytest.fixture(scope="session")
def _receiver() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Simulator]:
    with Simulator(time_scale=QUICK, domain=FURTHER_DOMAIN) as simulator:
        yield simulator


@pytest.fixture
def simulator(_simulator: Simulator) -> Simulator:
    """A simulator that sends no webhooks, unless the test has a receiver too."""
    _simulator.clear()
    return _simulator


@pytest.fixture
def receiver(_receiver: WebhookReceiver, simulator: Simulator) -> WebhookReceiver:
    """A receiver at a URL of this test alone, so that it gets no webhooks about mail of other tests."""
    _receiver.clear()
    simulator.configure(webhook_url=_receiver.url)
    return _receiver


@pytest.fixture
def mailgun(simulator: Simulator, settings: Any, db: None) -> Iterator[Simulator]:
    """The simulator as the only provider, with a long timeout; its events are believed a second after the call."""
    settings.MAIL_TIMEOUT = (60, 60)
    settings.MAIL_SETTLED_AFTER = timedelta(seconds=1)
    with sending_by(settings, provider(simulator.api_url)):
        yield simulator
