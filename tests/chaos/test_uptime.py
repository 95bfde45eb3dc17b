"""The time for which a chaos run (tests/chaos) blames the clusters: while one was up."""

from tests.chaos.uptime import of_cluster, seconds_within, union


def test_a_cluster_is_up_from_each_start_to_its_next_end_unless_it_is_frozen() -> None:
    assert of_cluster([10, 50], [20, 40], [(12, 14), (19, 55)], now=60) == [(10, 12), (14, 19), (55, 60)]


def test_time_in_which_a_cluster_was_up_counts_once() -> None:
    up = union([(20, 30), (0, 10), (5, 12)])

    assert up == [(0, 12), (20, 30)]
    assert seconds_within(up, 10, 25) == 7
