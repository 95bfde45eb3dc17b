"""Fixtures: a worker without a cluster, in the tests' own process.

A test module takes them by `pytest_plugins = ["tests.support.worker_fixtures"]`.
"""

from collections.abc import Iterator

import pytest

from jobs.worker.worker import Worker
from tests.support.standalone_worker import contained, make_worker


@pytest.fixture
def contained_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers of this test may take the signals of its process."""
    with contained(monkeypatch):
        yield


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, contained_signals: None) -> Worker:
    return make_worker(monkeypatch)
