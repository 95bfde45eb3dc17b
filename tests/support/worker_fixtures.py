"""Fixtures: a worker without a cluster, in the tests' own process.

A test module takes them by `pytest_plugins = ["tests.support.worker_fixtures"]`.
"""

from collections.abc import Iterator

import pytest

from jobs.worker.worker import Worker
from tests.support.standalone_worker import contained, make_worker


@pytest.fixture
def contained_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The signal handlers that workers of this test replace are restored."""
    with contained(monkeypatch):
        yield


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, contained_signals: None) -> Worker:
    return make_worker(monkeypatch)
