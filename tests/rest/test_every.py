from types import SimpleNamespace

import pytest

from rest import every
from rest.every import Every


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    time = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(every, "time", SimpleNamespace(monotonic=lambda: time.now))
    return time


def test_it_is_due_at_first_and_so_many_seconds_after_each_restart(clock: SimpleNamespace) -> None:
    look = Every(2.0)
    assert look.is_due()
    look.restart()
    clock.now += 1.9
    assert not look.is_due()
    clock.now += 0.1
    assert look.is_due()


@pytest.mark.parametrize(("asked", "waited"), [(1.0, 2.0), (5.0, 5.0)])
def test_a_longer_pause_delays_it_and_a_shorter_one_does_not_hasten_it(
    clock: SimpleNamespace, asked: float, waited: float
) -> None:
    look = Every(2.0)
    look.restart(asked)
    clock.now += waited - 0.1
    assert not look.is_due()
    clock.now += 0.1
    assert look.is_due()
