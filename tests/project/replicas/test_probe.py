"""The probe in moments that cannot be arranged with real servers; tests/system/replicas/ has those that can."""

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from project.replicas import probe as probe_module
from project.replicas.probe import Probe
from project.replicas.replica_pool import State
from routers import PRIMARY, pool


@pytest.fixture(autouse=True)
def _alone(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replicas, which are good until a probe of the test finds otherwise."""
    settings.REPLICAS = {"replica1": {}, "replica2": {}}
    monkeypatch.setattr(pool, "replayed", {"replica1": 100, "replica2": 100})
    monkeypatch.setattr(pool, "primary_is_out", False)


def state(replayed: int = 100, lag: float = 0.0, *, standby: bool = True, streaming: bool = True) -> State:
    return State(standby, replayed, lag, streaming)


class Servers:
    """A primary and a standby that streams from it. The primary dies after the first answer of either."""

    primary_lives = True

    def position(self) -> int | None:
        lived, self.primary_lives = self.primary_lives, False
        return 100 if lived else None

    def state_of(self, alias: str) -> State:
        lived, self.primary_lives = self.primary_lives, False
        return State(standby=True, replayed=100, lag=0.0, streaming=lived)


def test_a_primary_that_dies_in_the_middle_of_a_round_puts_no_replica_out(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers()
    monkeypatch.setattr(probe_module, "primary_position", servers.position)
    monkeypatch.setattr(probe_module, "state_of", servers.state_of)
    Probe().round()
    assert pool.replayed
    assert not servers.primary_lives


@pytest.fixture
def silence() -> Iterator[Event]:
    """A server that waits for this event does not answer."""
    event = Event()
    yield event
    event.set()


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The servers whose connections the probe closes."""
    cut: list[str] = []
    monkeypatch.setattr(probe_module, "close", cut.append)
    return cut


def test_a_replica_that_says_nothing_is_put_out_and_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, silence: Event, cut: list[str]
) -> None:
    monkeypatch.setattr(probe_module, "CHECK", 0.001)
    monkeypatch.setattr(probe_module, "primary_position", lambda: 100)
    monkeypatch.setattr(
        probe_module, "state_of", lambda alias: state() if alias == "replica2" or silence.wait() else None
    )
    probe = Probe()
    probe.round()
    assert (set(pool.replayed), cut) == ({"replica2"}, ["replica1"])

    silence.set()
    monkeypatch.setattr(probe_module, "CHECKS", 10_000)
    probe.round()
    assert set(pool.replayed) == {"replica1", "replica2"}
    assert cut == ["replica1"]


def test_a_primary_that_says_nothing_is_out_and_the_replicas_are_not(
    monkeypatch: pytest.MonkeyPatch, silence: Event, cut: list[str]
) -> None:
    monkeypatch.setattr(probe_module, "CHECK", 0.001)
    monkeypatch.setattr(probe_module, "primary_position", silence.wait)
    monkeypatch.setattr(probe_module, "state_of", lambda alias: state(streaming=False))
    probe = Probe()
    probe.round()
    assert pool.primary_is_out
    assert set(pool.replayed) == {"replica1", "replica2"}
    assert cut == []

    probe.for_requests = True
    probe.round()
    assert cut == [PRIMARY]


def test_the_first_round_is_waited_for_and_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []
    monkeypatch.setattr(probe_module, "PROBE_EVERY", (1000, 1000))
    monkeypatch.setattr(Probe, "round", lambda probe: rounds.append(1))
    probe = Probe()
    for _ in range(3):
        probe.ensure_started()
        assert rounds == [1]
