"""How far a user has written, and which servers may serve that user's next reads. There are no real replicas here."""

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
def written(monkeypatch: pytest.MonkeyPatch, settings: Any) -> dict[str, Any]:
    """The position of each server: what the primary has written, and what the replicas say that they have replayed."""
    settings.REPLICAS = {"replica1": {}, "replica2": {}}
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
    """What is put into the cache: key, position, and timeout in seconds."""
    stored: list[tuple[str, int, int]] = []
    recorder = SimpleNamespace(get=cache.get, set=lambda *entry: stored.append(entry))
    monkeypatch.setattr(read_your_writes, "cache", recorder)
    return stored


def reader() -> str:
    """Where a request of Ada's reads, once it has been authenticated."""
    with routed(Route(may_use_replicas=True)) as here:
        require_own_writes(ADA.pk)
        return here.chosen or ("replicas" if here.may_use_replicas else PRIMARY)


def test_a_user_who_has_not_written_reads_from_any_replica() -> None:
    assert reader() == "replicas"


def test_a_user_who_has_written_reads_from_a_replica_that_knows_it_or_from_the_primary(written: dict[str, Any]) -> None:
    for position, expected in [(100, {"replica1", "replica2"}), (150, {"replica2"}), (250, {PRIMARY})]:
        written[PRIMARY] = position
        record_write(ADA)
        assert {reader() for _ in range(100)} == expected


def test_a_replica_that_says_it_is_behind_is_not_read_from_whatever_the_probe_knows(written: dict[str, Any]) -> None:
    written |= {PRIMARY: 150, "replica2": 120}
    record_write(ADA)
    assert reader() == PRIMARY


def test_of_two_writes_that_overlap_the_later_one_counts(written: dict[str, Any]) -> None:
    for position in (150, 90):  # replica1 has replayed 100, which includes the second write only
        written[PRIMARY] = position
        record_write(ADA)
    assert {reader() for _ in range(100)} == {"replica2"}


def test_after_a_write_with_unknown_position_its_user_reads_from_the_primary_until_the_next(
    written: dict[str, Any],
) -> None:
    for position, expected in [(150, "replica2"), (UNKNOWN, PRIMARY), (150, "replica2")]:
        written[PRIMARY] = position
        record_write(ADA)
        assert {reader() for _ in range(10)} == {expected}


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_a_write_is_remembered_whatever_the_status_of_its_response(
    written: dict[str, Any], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(probe.background_probe, "ensure_started", lambda: None)
    request = RequestFactory().post("/")
    request.user = ADA
    written[PRIMARY] = 150
    RoutingMiddleware(lambda request: HttpResponse(status=status))(request)
    assert {reader() for _ in range(10)} == {"replica2"}


def test_without_replicas_no_position_is_kept(stored: list[tuple[str, int, int]], settings: Any) -> None:
    settings.REPLICAS = {}
    record_write(ADA)
    assert stored == []


def test_a_position_is_kept_for_as_long_as_a_replica_may_be_late(stored: list[tuple[str, int, int]]) -> None:
    """A replica that is further behind is not read from anyway."""
    record_write(ADA)
    [(_, position, seconds)] = stored
    assert not fault(State(True, position - 1, lag=seconds, streaming=True), written=position)
    assert fault(State(True, position - 1, lag=seconds + 1, streaming=True), written=position)


def test_while_the_primary_is_out_replicas_that_know_the_write_are_preferred(
    written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for position, expected in [(150, {"replica2"}), (250, {"replica1", "replica2"})]:
        written[PRIMARY] = position
        record_write(ADA)
        written[PRIMARY] = None
        monkeypatch.setattr(pool, "primary_is_out", True)
        assert {reader() for _ in range(100)} == expected


def test_a_user_who_has_written_reads_from_a_returned_primary_before_any_probe(
    written: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has noticed it sooner, and has taken the write."""
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
    """Connections to databases, all of which are away."""

    def __getitem__(self, alias: str) -> Any:
        raise OperationalError


@pytest.mark.parametrize("nobody", [None, SimpleNamespace(pk=None, is_authenticated=False)])
def test_the_write_of_an_anonymous_user_is_not_remembered(nobody: Any, stored: list[tuple[str, int, int]]) -> None:
    record_write(nobody)
    assert stored == []
