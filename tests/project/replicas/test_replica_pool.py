"""Which replicas are good enough to be read from, by what they answered."""

import pytest

from project.replicas.replica_pool import LAG_BYTES, LAG_SECONDS, MAX_LAG_SECONDS, State, fault


def state(replayed: int = 100, lag: float = 0.0, *, standby: bool = True, streaming: bool = True) -> State:
    return State(standby, replayed, lag, streaming)


@pytest.mark.parametrize(
    ("said", "good"),
    [
        (state(), True),
        (state(standby=False), False),
        (state(streaming=False), False),
        (state(0, LAG_SECONDS + 1), True),
        (state(0, MAX_LAG_SECONDS + 1), False),
        (state(LAG_BYTES, MAX_LAG_SECONDS + 1), True),
    ],
)
def test_a_replica_is_good_while_it_streams_and_is_not_late(said: State, good: bool) -> None:
    """Late: far behind both in time and in data, or behind at all for longer than MAX_LAG_SECONDS."""
    assert (fault(said, written=LAG_BYTES) == "") is good


def test_a_replica_that_is_far_behind_in_time_and_data_is_late() -> None:
    assert "behind" in fault(state(0, LAG_SECONDS + 1), written=LAG_BYTES + 1)
    assert not fault(state(0, LAG_SECONDS - 1), written=LAG_BYTES + 1)
