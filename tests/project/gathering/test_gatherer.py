"""Gatherer: questions that arrive during a call are answered together by the next one; none waits for others."""

import asyncio
import threading

from project.gathering import gatherer
from project.gathering.gatherer import Gatherer
from tests.support.timeouts import PATIENCE


class Calls:
    """An execute() that answers with the doubled keys. Each call waits for `gate`."""

    def __init__(self) -> None:
        self.keys: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()

    def __call__(self, keys: list[int]) -> list[int | None]:
        self.keys.append(keys)
        self.begun.release()
        assert self.gate.wait(PATIENCE)
        return [None if key < 0 else 2 * key for key in keys]


def test_what_arrives_during_a_call_is_answered_together_by_the_next() -> None:
    calls = Calls()
    doubled = Gatherer("test", calls)

    async def ask() -> list[int | None]:
        first = asyncio.create_task(doubled.answer(1))
        await asyncio.to_thread(calls.begun.acquire, timeout=PATIENCE)
        others = [asyncio.create_task(doubled.answer(number)) for number in range(2, 6)]
        await asyncio.sleep(0)
        calls.gate.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(ask()) == [2, 4, 6, 8, 10]
    assert calls.keys == [[1], [2, 3, 4, 5]]


def test_one_call_answers_no_more_than_the_bound() -> None:
    calls = Calls()
    doubled = Gatherer("test", calls)

    async def ask() -> list[int | None]:
        first = asyncio.create_task(doubled.answer(0))
        await asyncio.to_thread(calls.begun.acquire, timeout=PATIENCE)
        others = [asyncio.create_task(doubled.answer(number)) for number in range(1, gatherer.BOUND + 2)]
        await asyncio.sleep(0)
        calls.gate.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(ask()) == [2 * number for number in range(gatherer.BOUND + 2)]
    assert [len(keys) for keys in calls.keys] == [1, gatherer.BOUND, 1]


def test_a_failed_call_has_no_answers_and_the_next_one_has() -> None:
    calls = Calls()
    calls.gate.set()

    def fail_once(keys: list[int]) -> list[int | None]:
        if not calls.keys:
            calls(keys)
            raise ValueError
        return calls(keys)

    doubled = Gatherer("test", fail_once)
    assert asyncio.run(doubled.answer(1)) is None
    assert asyncio.run(doubled.answer(1)) == 2


def test_a_caller_that_gave_up_does_not_harm_the_others() -> None:
    calls = Calls()
    doubled = Gatherer("test", calls)

    async def ask() -> int | None:
        left, stays = asyncio.create_task(doubled.answer(1)), asyncio.create_task(doubled.answer(2))
        await asyncio.to_thread(calls.begun.acquire, timeout=PATIENCE)
        left.cancel()
        calls.gate.set()
        return await stays

    assert asyncio.run(ask()) == 4


def test_the_loop_goes_on_while_a_call_hangs() -> None:
    calls = Calls()
    doubled = Gatherer("test", calls)

    async def ask() -> bool:
        hanging = asyncio.create_task(doubled.answer(1))
        await asyncio.to_thread(calls.begun.acquire, timeout=PATIENCE)
        await asyncio.sleep(0)
        waits = not hanging.done()
        calls.gate.set()
        await hanging
        return waits

    assert asyncio.run(ask())
