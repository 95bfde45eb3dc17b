"""When the reserve worker steps in."""

from uuid import UUID

import pytest

from jobs.worker import reserve
from jobs.worker.reserve import OCCUPIED_AFTER, Occupation
from jobs.worker.watchdog import Watchdog

FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(reserve.time, "monotonic", lambda: now[0])
    return now


def test_all_workers_must_have_been_at_the_same_job_for_a_while(clock: list[float]) -> None:
    dogs = [Watchdog(), Watchdog()]
    occupation = Occupation(dogs)
    dogs[0].start(0, FIRST, 60)
    assert not occupation.is_complete()
    clock[0] += OCCUPIED_AFTER
    assert not occupation.is_complete(), "one is free"
    dogs[1].start(0, SECOND, 60)
    assert not occupation.is_complete(), "it has just begun"
    clock[0] += OCCUPIED_AFTER
    assert occupation.is_complete()
    dogs[1].finish(0)
    assert not occupation.is_complete()
    dogs[1].start(0, FIRST, 60)
    assert not occupation.is_complete(), "another job"


def test_without_workers_there_is_nothing_to_help_with(clock: list[float]) -> None:
    assert not Occupation([]).is_complete()
