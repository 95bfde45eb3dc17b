"""Which changes wake which watchers, without a database: the feed is a fake that records its wishes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

import pytest

from rest.watch import hub as hub_module
from rest.watch.feed import Wish
from rest.watch.hub import MOST_PENDING, TURN, Hub, Watch
from rest.watch.position import OwnerPosition, RowPosition
from rest.watch.table import LARGEST, State, Topic

ROW, OWNER = UUID(int=1), 7
JOB, JOBS = Topic("jobs_job", ROW), Topic("jobs_job", OWNER)
SOON, LONG = 0.01, 60


class FakeFeed:
    def __init__(self, hub: Hub) -> None:
        self.wishes: list[Any] = []
        self.ended = False

    def ask(self, wish: Any) -> bool:
        if not self.ended:
            self.wishes.append(wish)
        return not self.ended

    def start(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "Feed", FakeFeed)


def run(scenario: Callable[[Hub], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(Hub(asyncio.get_running_loop()))

    asyncio.run(main())


def make_state(version: int = 1, row: UUID = ROW, owner: int | None = OWNER, **values: Any) -> State:
    return State(row, owner, version, values)


def changes(states: Iterable[State], table: str = "jobs_job") -> list[tuple[Topic, State]]:
    """The states with the topics of their rows and of their owners."""
    keys = [(key, state) for state in states for key in (state.id, state.owner)]
    return [(Topic(table, key), state) for key, state in keys if key is not None]


def test_a_watcher_is_woken_by_its_row_and_by_its_owners_rows() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB) as one, hub.watch(JOBS) as every:
            hub.publish(changes([make_state(1)]))
            assert await one.changed(LONG)
            assert await every.changed(LONG)
            assert [state.version for state in one.take()] == [1]
            assert [state.version for state in every.take()] == [1]
            hub.publish(changes([make_state(2, UUID(int=2)), make_state(1, UUID(int=3), None)]))
            assert await every.changed(LONG)
            assert [state.id for state in every.take()] == [UUID(int=2)]
            assert not await one.changed(SOON)

    run(scenario)


def test_many_changes_at_once_leave_turns_of_the_event_loop_to_others_and_keep_their_order() -> None:
    async def scenario(hub: Hub) -> None:
        told: list[tuple[UUID, int]] = []

        async def follow(row: UUID) -> None:
            with hub.watch(Topic("jobs_job", row)) as watch:
                while (row, 2) not in told and await watch.changed(LONG):
                    told.extend((row, state.version) for state in watch.take())

        rows = [UUID(int=number) for number in range(5 * TURN)]
        async with asyncio.TaskGroup() as tasks:
            following = [tasks.create_task(follow(row)) for row in rows]
            await asyncio.sleep(0)
            for version in (1, 2):
                hub.publish(changes([make_state(version, row) for row in rows]))
            while not all(task.done() for task in following):
                before = len(told)
                await asyncio.sleep(0)
                assert len(told) - before <= TURN
        for row in rows:
            assert [version for which, version in told if which == row] in ([1, 2], [2])

    run(scenario)


def test_an_error_of_one_watcher_leaves_the_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = Watch.offer

    async def scenario(hub: Hub) -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        with hub.watch(JOB) as broken, hub.watch(JOB) as watch:

            def offer_to(self: Watch, state: Any) -> None:
                if self is broken:
                    raise RuntimeError
                offer(self, state)

            monkeypatch.setattr(Watch, "offer", offer_to)
            hub.publish(changes([make_state(version) for version in range(1, 2 * TURN)]))
            while not any(state.version == 2 * TURN - 1 for state in watch.take()):
                assert await watch.changed(LONG)
        assert errors

    run(scenario)


def test_another_table_with_the_same_ids_wakes_nobody() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB) as watch:
            hub.publish(changes([make_state()], "mail_message"))
            assert not await watch.changed(SOON)

    run(scenario)


def test_only_the_newest_state_of_a_row_is_kept() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB) as watch:
            hub.publish(changes([make_state(1), make_state(2)]))
            hub.publish(changes([make_state(3)]))
            await asyncio.sleep(0)
            assert await watch.changed(LONG)
            assert [state.version for state in watch.take()] == [3]

    run(scenario)


def test_a_version_that_was_told_does_not_wake() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB, RowPosition(5)) as watch:
            hub.publish(changes([make_state(5)]))
            assert not await watch.changed(SOON)
            assert not watch.over

    run(scenario)


def test_a_final_state_that_was_told_and_a_deleted_row_end_the_watch() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB, RowPosition(5), lambda state: True) as known, hub.watch(JOB) as deleted:
            hub.publish(changes([make_state(5)]))
            assert not await known.changed(LONG)
            assert known.over
            deleted.take()
            hub.publish([], [JOB])
            assert not await deleted.changed(LONG)
            assert deleted.over

    run(scenario)


def test_a_closed_hub_ends_all_watches_and_those_that_begin_later() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB) as watch:
            asyncio.get_running_loop().call_soon(hub.close)
            assert not await watch.changed(LONG)
            assert watch.closed
        with hub.watch(JOB) as late:
            assert not await late.changed(LONG)

    run(scenario)


def test_a_watcher_with_too_many_pending_states_reads_page_by_page() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOBS, OwnerPosition(LARGEST, resumes=True)) as other, hub.watch(JOBS) as watch:
            feed: Any = hub._feed
            large = [make_large_state(version, MOST_PENDING // 2) for version in (1, 2, 3)]
            hub.publish(changes(large[:1]))
            assert await watch.changed(LONG)
            watch.position.tell(watch.take()[0])
            hub.publish(changes([*large[1:], make_large_state(4, 1)]))
            while len(feed.wishes) < 3:
                await asyncio.sleep(0)
            assert feed.wishes[2] == Wish(JOBS, 1, watch)
            assert hub.backlog.characters == 0
            hub.publish_page([watch], large[1:], complete=True)
            assert await watch.changed(LONG)
            assert watch.take() == large[1:]
            assert not await other.changed(SOON)

    run(scenario)


def test_a_watcher_of_one_row_keeps_it_whatever_its_size() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB) as watch:
            large = State(ROW, OWNER, 1, {}, characters=2 * MOST_PENDING)
            hub.publish(changes([large]))
            assert await watch.changed(LONG)
            assert watch.take() == [large]

    run(scenario)


def test_pending_states_may_be_taken_in_parts_each_in_its_newest_version() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOBS) as watch:
            hub.publish(changes([make_large_state(version, 10) for version in (1, 2, 3)]))
            while hub.backlog.characters < 30:
                await asyncio.sleep(0)
            assert [state.version for state in watch.take(15)] == [1, 2]
            newer = State(UUID(int=3), OWNER, 4, {}, characters=10)
            hub.publish(changes([newer]))
            while watch._pending.get(newer.id) is not newer:
                await asyncio.sleep(0)
            assert watch.take() == [newer]
            assert hub.backlog.characters == 0

    run(scenario)


def test_a_state_counts_once_until_no_watcher_has_it_pending() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOBS) as first:
            with hub.watch(JOBS) as second:
                hub.publish(changes([make_large_state(1, 10)]))
                assert await first.changed(LONG)
                assert await second.changed(LONG)
                assert hub.backlog.characters == 10
                first.take()
                assert hub.backlog.characters == 10
            assert hub.backlog.characters == 0
        first.offer(make_large_state(2, 10))
        assert hub.backlog.characters == 0, "a watcher that has left gets no state that was under way"

    run(scenario)


def make_large_state(version: int, characters: int) -> State:
    return State(UUID(int=version), OWNER, version, {}, characters=characters)


def test_a_watcher_that_resumes_reads_pages_before_any_other_change() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOBS, OwnerPosition(10, resumes=True)) as watch:
            feed: Any = hub._feed
            assert feed.wishes == [Wish(JOBS, 10, watch)]
            hub.publish(changes([make_state(99)]))  # it is in one of the pages, too
            hub.publish_page([watch], [make_state(11, UUID(int=2)), make_state(12, UUID(int=3))], complete=False)
            assert await watch.changed(LONG)
            assert [watch.position.tell(state) for state in watch.take()] == [11, 12]
            assert feed.wishes[1:] == [Wish(JOBS, 11, watch)]
            hub.publish_page([watch], [make_state(99)], complete=True)
            hub.publish(changes([make_state(100)]))
            await asyncio.sleep(0)
            assert await watch.changed(LONG)
            assert [state.version for state in watch.take()] == [100]
            assert len(feed.wishes) == 2

    run(scenario)


def test_a_page_without_news_is_followed_by_the_next() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOBS, OwnerPosition(10, resumes=True)) as watch:
            watch.position.tell(make_state(11))
            hub.publish_page([watch], [make_state(11)], complete=False)
            assert not await watch.changed(SOON)
            feed: Any = hub._feed
            assert feed.wishes == [Wish(JOBS, 10, watch), Wish(JOBS, 11, watch)]

    run(scenario)


def test_no_topic_is_left_when_its_watches_end() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB), hub.watch(JOB):
            assert hub.topics() == [JOB]
            assert hub.is_watched(JOB)
        assert hub.topics() == []
        assert not hub.is_watched(JOB)

    run(scenario)


def test_a_feed_that_has_ended_is_replaced() -> None:
    async def scenario(hub: Hub) -> None:
        with hub.watch(JOB):
            first: Any = hub._feed
            first.ended = True
        with hub.watch(JOBS):
            second: Any = hub._feed
            assert second is not first
            assert [wish.topic for wish in second.wishes] == [JOBS]

    run(scenario)
