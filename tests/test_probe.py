"""What the probe makes of a moment that no test can catch with real servers; tests/test_replicas.py has those."""

from typing import Any

import pytest

from project import replicas
from project.replicas import Probe, State
from routers import pool


class Servers:
    """A primary and a standby that streams from it as long as it lives: until its first answer, or the standby's."""

    primary_lives = True

    def position(self) -> int | None:
        lived, self.primary_lives = self.primary_lives, False
        return 100 if lived else None

    def state_of(self, alias: str) -> State:
        lived, self.primary_lives = self.primary_lives, False
        return State(standby=True, replayed=100, lag=0.0, streaming=lived)


def test_a_primary_that_dies_in_the_middle_of_a_round_takes_no_replica_with_it(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = Servers()
    settings.REPLICAS = {"replica1": {}}
    monkeypatch.setattr(pool, "replayed", {"replica1": 100})
    monkeypatch.setattr(pool, "primary_is_out", False)
    monkeypatch.setattr(replicas, "primary_position", servers.position)
    monkeypatch.setattr(replicas, "state_of", servers.state_of)
    Probe().round()
    assert pool.replayed == {"replica1": 100}
    assert not servers.primary_lives
