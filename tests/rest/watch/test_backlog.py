"""A process bounds what its clients have not read: beyond, the one that has not read for longest is dropped."""

import asyncio
from uuid import UUID

import pytest

from rest.watch import backlog as backlog_module
from rest.watch.backlog import Backlog
from rest.watch.table import State


class Sender:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_the_client_that_has_not_read_for_longest_is_dropped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "MOST", 100)

    async def send(backlog: Backlog, sender: Sender, size: int) -> bool:
        """True if the client was dropped."""
        try:
            async with asyncio.timeout(60) as deadline:
                with backlog.sending(sender, size, deadline):
                    await asyncio.Event().wait()
        except TimeoutError:
            return True
        return False

    async def main() -> None:
        backlog, senders = Backlog(), [Sender() for _ in range(3)]
        first, second, third = [asyncio.create_task(send(backlog, sender, 40)) for sender in senders]
        assert await first
        assert [sender.is_closed for sender in senders] == [True, False, False]
        assert backlog.characters == 80
        state = State(UUID(int=1), 1, 1, {}, characters=30)
        backlog.add(state)
        backlog.add(state)
        assert await second
        assert not senders[2].is_closed
        backlog.remove(state)
        assert backlog.characters == 70
        backlog.remove(state)
        third.cancel()
        with pytest.raises(asyncio.CancelledError):
            await third
        assert backlog.characters == 0

    asyncio.run(main())
