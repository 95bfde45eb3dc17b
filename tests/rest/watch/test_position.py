"""What is news to a client, and the numbers by which it resumes."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.watch.position import REMEMBERED, UNCOMMITTED, OwnerPosition, RowPosition
from rest.watch.table import State

ONE, OTHER = UUID(int=1), UUID(int=2)
NOW = 1_800_000_000_000_000


def make_state(version: int, row: UUID = ONE) -> State:
    return State(row, 7, version, {})


def test_a_row_is_news_until_its_version_is_told() -> None:
    position = RowPosition()
    assert position.is_news(make_state(1))
    assert position.is_news(make_state(5))
    assert position.tell(make_state(5)) == 5
    assert not position.is_news(make_state(5))
    assert position.is_news(make_state(6))


def test_a_client_that_resumes_is_not_told_its_version_again() -> None:
    assert not RowPosition(5).is_news(make_state(5))
    assert RowPosition(5).is_news(make_state(6))


def test_a_state_that_a_failover_has_lost_is_replaced() -> None:
    assert RowPosition(5).is_news(make_state(4))


def test_of_many_rows_each_change_is_news_once() -> None:
    position = OwnerPosition(NOW, resumes=True)
    told = [position.tell(state) for state in (make_state(NOW + 1), make_state(NOW + 2, OTHER))]
    assert told == [NOW + 1, NOW + 2]
    assert not position.is_news(make_state(NOW + 1))
    assert not position.is_news(make_state(NOW + 2, OTHER))
    assert position.is_news(make_state(NOW + 3))


def test_a_change_that_is_committed_late_is_news_and_does_not_lower_the_numbers() -> None:
    position = OwnerPosition(NOW, resumes=True)
    position.tell(make_state(NOW + 10))
    late = make_state(NOW + 4, OTHER)
    assert position.is_news(late)
    assert position.tell(late) == NOW + 10
    assert not position.is_news(late)


def test_a_new_client_is_told_of_changes_that_were_not_committed_when_it_came() -> None:
    assert OwnerPosition(NOW, resumes=False).is_news(make_state(NOW - UNCOMMITTED + 1))
    assert not OwnerPosition(NOW, resumes=False).is_news(make_state(NOW - UNCOMMITTED))
    assert not OwnerPosition(NOW, resumes=True).is_news(make_state(NOW))


def test_single_rows_are_remembered_for_a_while() -> None:
    position = OwnerPosition(NOW, resumes=True)
    position.tell(make_state(NOW + 2 * REMEMBERED))
    assert position.since == NOW
    position.tell(make_state(NOW + 2 * REMEMBERED + 1))
    assert position.since == NOW + REMEMBERED + 1


@pytest.mark.parametrize("resumes", [True, False])
def test_a_position_knows_whether_its_client_resumes(resumes: bool) -> None:
    assert OwnerPosition(NOW, resumes=resumes).resumes is resumes


def test_the_memory_of_single_rows_is_bounded() -> None:
    position = OwnerPosition(NOW, resumes=True)
    for step in range(1, 100):
        position.tell(make_state(NOW + step * REMEMBERED // 10, UUID(int=step)))
    assert len(position._told) < 30


def test_a_client_that_was_told_of_an_unsettled_change_resumes_before_it() -> None:
    position = OwnerPosition(NOW, resumes=True)
    early = State(ONE, 7, NOW + 10, {}, settled=NOW + 3)
    assert position.tell(early) == NOW + 3
    assert not position.is_news(early)
    assert OwnerPosition(NOW + 3, resumes=True).is_news(make_state(NOW + 4, OTHER))
    assert OwnerPosition(NOW, resumes=False).tell(State(ONE, 7, NOW + 10, {}, settled=NOW - 60)) == NOW - 60


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER, UUID(int=3)]), st.integers(1, 10**9)), max_size=60))
def test_within_a_row_the_numbers_never_fall_and_nothing_comes_twice(changes: list[tuple[UUID, int]]) -> None:
    position = OwnerPosition(NOW, resumes=True)
    told: dict[UUID, list[tuple[int, int]]] = {}
    for row, after in changes:
        state = make_state(NOW + after, row)
        if position.is_news(state):
            told.setdefault(row, []).append((position.tell(state), state.version))
    for pairs in told.values():
        numbers, versions = zip(*pairs, strict=True)
        assert list(numbers) == sorted(numbers)
        assert list(versions) == sorted(set(versions))
