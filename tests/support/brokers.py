"""Where a stack keeps jobs and wake-ups: in either database alone, or in PostgreSQL with Redis or SQS beside it."""

import itertools
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from demo.eventually import eventually
from settings import env as readers
from tests.conftest import DATABASES
from tests.support.cluster_stack import ClusterStack, make_cluster_stack
from tests.support.servers.sqs import CREDENTIALS
from tests.support.timeouts import PATIENCE

BROKERS = ["redis", "sqs"]
PLACES = [*DATABASES, *BROKERS]
WAIT = 1
"""Seconds that a broker in a test's own process waits for a message."""

_redis_databases = itertools.cycle(range(16))


def on_each(places: list[str], group: str) -> list[Any]:
    """Parameters of a fixture that makes something on each; the tests on one of them stay in one process."""
    return [pytest.param(place, marks=pytest.mark.xdist_group(f"{group}_{place}")) for place in places]


def broker_environment(place: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment variables of a program that uses this place, with a part of the server for it alone."""
    if place == "redis":
        url = request.getfixturevalue("redis_server").url(next(_redis_databases))
    elif place == "sqs":
        url = request.getfixturevalue("sqs_server").url()
    else:
        url = "orm://"
    return {"BROKER_URL": url, **CREDENTIALS}


def make_cluster_stack_on(
    place: str, request: pytest.FixtureRequest, folder: Path, *, env: Mapping[str, str] | None = None, **options: Any
) -> ClusterStack:
    """A stack with a new database and this broker; `with` starts it."""
    database = place if place in DATABASES else "postgresql"
    return make_cluster_stack(database, folder, env={**broker_environment(place, request), **(env or {})}, **options)


def broker_setting(url: str) -> dict[str, Any]:
    """The value of settings.BROKER for this BROKER_URL."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BROKER_URL", url)
        return readers.broker("BROKER_URL")


def all_are_sent() -> None:
    """Wait until this process has sent the wake-ups that it has joined."""
    eventually(lambda: "wakeups" not in {thread.name for thread in threading.enumerate()}, PATIENCE, "the last send")
