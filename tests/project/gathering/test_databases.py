"""Gathered reads on replicas: each user's own writes are in the answer, and a replica that fails is passed by."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError

from project.gathering import databases
from project.replicas.read_your_writes import UNKNOWN, position_key
from routers import PRIMARY, pool

REPLICA = "replica1"
ADA, BOB = 1, 2
QUESTIONS = [("ada",), ("bob",)]

Executed = list[tuple[str, str, Sequence[Sequence[str]]]]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Executed:
    """The executed statements and their databases. All know Ada and Bob; the replica is at position 100."""
    calls: Executed = []

    def execute(alias: str, statement: str, questions: Sequence[Sequence[str]] = (), **_: Any) -> list[Any]:
        calls.append((alias, statement, questions))
        if statement == databases.REPLAYED:
            return [(100,)]
        users = {"ada": ADA, "bob": BOB}
        return [(number, users[name], alias) for number, (name,) in enumerate(questions, 1) if name in users]

    monkeypatch.setattr(databases, "_execute", execute)
    monkeypatch.setattr(databases.probe.background_probe, "ensure_started", lambda: None)
    monkeypatch.setattr(settings, "REPLICAS", {REPLICA: {}})
    monkeypatch.setattr(pool, "replayed", {REPLICA: 100})
    monkeypatch.setattr(pool, "primary_is_out", False)
    return calls


def sources(questions: Sequence[Sequence[str]] = QUESTIONS) -> dict[int, str]:
    """Where the answer to each question comes from."""
    return {number: row[2] for number, row in databases.read("statement", questions).items()}


def test_a_replica_is_asked_how_far_it_is_before_it_is_read(executed: Executed) -> None:
    assert sources() == {0: REPLICA, 1: REPLICA}
    assert [call[:2] for call in executed] == [(REPLICA, databases.REPLAYED), (REPLICA, "statement")]


@pytest.mark.parametrize(("written", "source"), [(99, REPLICA), (100, REPLICA), (101, PRIMARY), (UNKNOWN, PRIMARY)])
def test_a_user_whose_write_is_not_replayed_reads_from_the_primary(
    executed: Executed, written: int, source: str
) -> None:
    cache.set(position_key(BOB), written)
    assert sources() == {0: REPLICA, 1: source}
    if source == PRIMARY:
        assert executed[-1] == (PRIMARY, "statement", [("bob",)])


def test_a_token_that_the_replica_does_not_know_is_looked_up_on_the_primary(executed: Executed) -> None:
    assert sources([("nobody",), ("ada",)]) == {1: REPLICA}
    assert executed[-1] == (PRIMARY, "statement", [("nobody",)])


def test_a_replica_that_fails_is_ejected_and_the_primary_read(
    executed: Executed, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute: Callable[..., list[Any]] = databases._execute

    def fail(alias: str, *arguments: Any) -> list[Any]:
        if alias == REPLICA:
            raise OperationalError
        return execute(alias, *arguments)

    monkeypatch.setattr(databases, "_execute", fail)
    assert sources() == {0: PRIMARY, 1: PRIMARY}
    assert REPLICA not in pool.replayed


def test_without_the_cache_everything_is_read_from_the_primary(
    executed: Executed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(keys: Any) -> dict[str, int]:
        raise ConnectionError

    monkeypatch.setattr(databases.shared_cache, "get_many", unreachable)
    assert sources() == {0: PRIMARY, 1: PRIMARY}


def test_while_the_primary_is_out_the_plain_views_decide(executed: Executed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "primary_is_out", True)
    assert databases.read("statement", QUESTIONS) == {}
    assert databases.read_before_writing("statement", QUESTIONS) == {}
    assert executed == []


def test_without_replicas_the_primary_is_read(executed: Executed, settings: Any) -> None:
    settings.REPLICAS = {}
    assert sources() == {0: PRIMARY, 1: PRIMARY}
    assert len(executed) == 1
