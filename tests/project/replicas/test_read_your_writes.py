"""How far a user has written, and who is good enough for that user's next reads; replicas are what the tests say."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError
from django.http import HttpResponse
from django.test import RequestFactory

from project.replicas import probe, read_your_writes
from project.replicas.middleware import RoutingMiddleware
from project.replicas.read_your_writes import UNKNOWN, record_write, require_own_writes
from project.replicas.replica_pool import State, fault
from routers import PRIMARY, Route, pool, routed

ADA = SimpleNamespace(pk=1, is_authenticated=True)


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How far each server has come: "default" has written, the others say that they have replayed so much."""
    known: dict[str, Any] = {PRIMARY: 100, "replica1": 100, "replica2": 200}
    monkeypatch.setattr(pool, "replayed", {"replica1": 100, "replica2": 200})
    monkeypatch.setattr(pool, "primary_is_out", False)
    monkeypatch.setattr(read_your_writes, "_position", lambda: known[PRIMARY])
    monkeypatch.setattr(probe, "ask", lambda alias, question, position: (known[alias] >= position,))
    monkeypatch.setattr(probe, "answers", lambda alias: known[alias] is not None)
    monkeypatch.setattr(probe, "CHECK_PRIMARY_EVERY", -1.0)
    return known


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What is put into the cache: key, position, and for how many seconds."""
    stored: list[tuple[str, int, int]] = []
    recorder = SimpleNamespace(get=cache.get, set=lambda *entry: stored.append(entry))
    monkeypatch.setattr(read_your_writes, "cache", recorder)
    return stored


def reader() -> str:
    """Where a request of Ada's reads, once it has been authenticated."""
    with routed(Route(may_use_replicas=True)) as here:
        require_own_writes(ADA.pk)
        return here.chosen or ("replicas" if here.may_use_replicas else PRIMARY)


def test_who_has_not_written_reads_from_any_replica() -> None:
    assert reader() == "replicas"


def test_who_has_written_reads_from_a_replica_that_knows_it_or_else_from_the_primary(written: dict[str, Any]) -> None:
    for position, expected in [(100, {"replica1", "replica2"}), (150, {"replica2"}), (250, {PRIMARY})]:
        written[PRIMARY] = position
        record_write(ADA)
        assert {reader() for _ in range(100)} == expected


def test_a_replica_that_the_probe_believes_and_that_says_no_is_not_read_from(written: dict[str, Any]) -> None:
    written |= {PRIMARY: 150, "replica2": 120}
    record_write(ADA)
    assert reader() == PRIMARY


def test_of_two_writes_that_overlap_the_later_one_counts(written: dict[str, Any]) -> None:
    for position in (150, 90):  # replica1 has replayed 100, and so knows the second write only
        written[PRIMARY] = position
        record_write(ADA)
    assert {reader() for _ in range(100)} == {"replica2"}


def test_a_write_whose_position_nobody_could_ask_for_sends_its_user_to_the_primary_until_the_next_one(
    written: dict[str, Any],
) -> None:
    for position, expected in [(150, "replica2"), (UNKNOWN, PRIMARY), (150, "replica2")]:
        written[PRIMARY] = position
        record_write(ADA)
        assert {reader() for _ in range(10)} == {expected}


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_a_write_is_remembered_whatever_its_request_was_answered(
    written: dict[str, Any], settings: Any, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    settings.REPLICAS = {"replica1": {}, "replica2": {}}
    monkeypatch.setattr(probe.background_probe, "ensure_started", lambda: None)
    request = RequestFactory().post("/")
    request.user = ADA
    written[PRIMARY] = 150
    RoutingMiddleware(lambda request: HttpResponse(status=status))(request)
    assert {reader() for _ in range(10)} == {"replica2"}


def test_a_position_is_kept_for_as_long_as_a_replica_may_be_late(stored: list[tuple[str, int, int]]) -> None:
    """One that is later than that is not good, and is not read from."""
    record_write(ADA)
    [(_, position, seconds)] = stored
    assert not fault(State(True, position - 1, lag=seconds, streaming=True), written=position)
    assert fault(State(True, position - 1, lag=seconds + 1, streaming=True), written=position)


def test_while_the_primary_is_out_a_replica_that_knows_the_write_is_read_from_and_else_whoever_is_left(
    written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for position, expected in [(150, {"replica2"}), (250, {"replica1", "replica2"})]:
        written[PRIMARY] = position
        record_write(ADA)
        written[PRIMARY] = None
        monkeypatch.setattr(pool, "primary_is_out", True)
        assert {reader() for _ in range(100)} == expected


def test_a_primary_that_is_back_is_read_from_by_who_has_written_though_no_probe_has_said_so(
    written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process knew sooner, and has taken the write."""
    written[PRIMARY] = 250
    record_write(ADA)
    monkeypatch.setattr(pool, "primary_is_out", True)
    assert reader() == PRIMARY
    assert not pool.primary_is_out


def test_without_the_cache_a_user_reads_from_the_primary_or_without_that_from_replicas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*arguments: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(read_your_writes, "cache", SimpleNamespace(get=away, set=away))
    record_write(ADA)
    assert reader() == PRIMARY
    monkeypatch.setattr(pool, "primary_is_out", True)
    assert reader() == "replicas"


def test_a_position_that_cannot_be_asked_for_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(read_your_writes, "connections", Away())
    assert read_your_writes._position() == UNKNOWN


class Away:
    """Connections to databases none of which is there."""

    def __getitem__(self, alias: str) -> Any:
        raise OperationalError


@pytest.mark.parametrize("nobody", [None, SimpleNamespace(pk=None, is_authenticated=False)])
def test_nobody_is_remembered_who_is_not_known(nobody: Any, stored: list[tuple[str, int, int]]) -> None:
    record_write(nobody)
    assert stored == []
