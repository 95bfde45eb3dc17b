"""What a web process repeats beside its requests."""

import threading

import pytest
from django.db import connections

from demo.eventually import eventually
from rest.background import repeated
from tests.support.timeouts import PATIENCE

NAME = "of a test"


def test_a_repeated_function_is_called_until_the_end_and_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    monkeypatch.setattr(connections, "close_all", lambda: steps.append("connections closed"))
    with repeated(lambda: steps.append("called"), every=0.001, name=NAME):
        eventually(lambda: len(steps) >= 6, PATIENCE, "three calls")
    assert steps[:6] == ["called", "connections closed"] * 3
    eventually(lambda: NAME not in {thread.name for thread in threading.enumerate()}, PATIENCE, "its end")
