"""Windows of roll-ups: counted to the moment at which a round began, and no further in that round."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from jobs.models.queue.clock import database_now
from monitor.models import RollupPosition
from monitor.rollups.window import DELAY, advance

pytestmark = pytest.mark.django_db


def test_a_round_in_which_nothing_happened_looks_once() -> None:
    looks: list[datetime] = []

    assert advance("test", lambda since, until: 0, looks.append) == 0

    assert len(looks) == 1


def test_a_round_counts_minute_by_minute_up_to_its_beginning() -> None:
    began = database_now()
    start = (began - timedelta(minutes=3)).replace(second=0, microsecond=0)
    RollupPosition.objects.create(name="test", until=start)
    windows: list[tuple[datetime, datetime]] = []

    def count(since: datetime, until: datetime) -> int:
        windows.append((since, until))
        return 1

    assert advance("test", count, lambda since: since) == len(windows)

    assert windows[0][0] == start
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    assert all(since.replace(second=0, microsecond=0) + timedelta(minutes=1) >= until for since, until in windows)
    assert windows[-1][1] == RollupPosition.objects.get(name="test").until >= began - DELAY
