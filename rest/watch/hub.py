"""The hub: who watches what, on the event loop of a web process.

    with hub().watch(JOBS.row(job_id)) as watch:
        while await watch.changed(within=30):
            for state in watch.take():
                ...

The first state comes by itself, read after the watch began: nothing that is committed later is missed.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from math import inf
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

from rest.pagination import MAX_PAGE_CHARACTERS
from rest.watch.backlog import Backlog
from rest.watch.feed import Feed, Reader, Wish
from rest.watch.login import Login
from rest.watch.position import Position, RowPosition
from rest.watch.table import State, Topic

MOST_PENDING = MAX_PAGE_CHARACTERS
"""Characters that a watcher of all rows of an owner may leave untaken. Beyond it, they are read again page by page."""
TURN = 8
"""Watchers that are handed a change in one turn of the event loop, about a millisecond: other requests are served in
between, however many changes come at once."""


class Watch:
    """What one request or stream watches. Ends with the `with` block, or when the hub closes it.

    over: True once nothing can follow: the row was deleted, or its final state is known. closed: True if it was ended
    from outside: the process stops, the client has left, or it read too slowly.
    """

    __slots__ = (
        "_catching_up",
        "_characters",
        "_final",
        "_hub",
        "_page_end",
        "_pending",
        "_waiter",
        "closed",
        "login",
        "over",
        "position",
        "topic",
    )

    def __init__(self, hub: "Hub", topic: Topic, position: Position, final: Callable[[State], bool] | None) -> None:
        self.topic = topic
        self.over = False
        self.closed = False
        self.login: Login | None = None
        """The login of the request that watches; the watch ends with it."""
        self._hub = hub
        self._final = final
        self.position = position
        self._pending: dict[object, State] = {}
        """Only the newest state of each row."""
        self._characters = 0
        self._waiter: asyncio.Future[None] | None = None
        self._catching_up = position.resumes
        self._page_end = position.known

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._hub.forget(self)

    async def changed(self, within: float) -> bool:
        """Wait for a change, at most so many seconds. True if there is something to take(); False also at the end."""
        if not (self._pending or self.closed or self.over):
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(within, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return bool(self._pending)

    def take(self, characters: float = inf) -> list[State]:
        """The newest state of each row that has changed, oldest change first; stops after so many characters."""
        states = sorted(self._pending.values(), key=lambda state: state.version)
        sizes = accumulate((state.characters for state in states), initial=0)
        taken = [state for state, before in zip(states, sizes, strict=False) if before < characters]
        self._let_go(taken)
        if self._catching_up and not self._pending:
            self._hub.ask(Wish(self.topic, self._page_end, self))
        return taken

    def close(self) -> None:
        self.closed = True
        self._let_go(list(self._pending.values()))
        self._wake()

    def offer(self, state: State) -> None:
        """Called by the hub with every state of the topic that was read.

        A watch that catches up ignores them, and gets them by page: a client that was told of a later change first and
        then cut off would resume after it, and miss the earlier ones.
        """
        if self._catching_up or self.closed:
            return
        if not self.position.is_news(state):
            if self._final and self._final(state):
                self.end()
            return
        self._keep(state)
        if self._characters > MOST_PENDING and isinstance(self.topic.key, int):
            self.catch_up()
        self._wake()

    def catch_up(self) -> None:
        """Too much has changed at once: read it page by page, like a client that comes back."""
        if not (self._catching_up or self.closed):
            self._let_go(list(self._pending.values()))
            self._catching_up, self._page_end = True, self.position.known
            self._hub.ask(Wish(self.topic, self._page_end, self))

    def offer_page(self, states: Sequence[State], *, complete: bool) -> None:
        """Called by the hub with the next rows that have changed since the version that this watch knows."""
        if self.closed:
            return
        self._catching_up = not complete
        for state in states:
            if self.position.is_news(state):
                self._keep(state)
        if states:
            # What changed in the same microsecond may be on the next page.
            self._page_end = max(states[0].version, states[-1].version - 1)
        if self._pending:
            self._wake()
        elif not complete:
            self._hub.ask(Wish(self.topic, self._page_end, self))

    def end(self) -> None:
        """There is nothing more to tell."""
        self.over = True
        self._wake()

    def _keep(self, state: State) -> None:
        if older := self._pending.get(state.id):
            self._let_go([older])
        self._pending[state.id] = state
        self._characters += state.characters
        self._hub.backlog.add(state)

    def _let_go(self, states: Iterable[State]) -> None:
        for state in states:
            del self._pending[state.id]
            self._characters -= state.characters
            self._hub.backlog.remove(state)

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class Hub:
    """All watches of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.backlog = Backlog()
        self._loop = loop
        self._watches: dict[Topic, set[Watch]] = {}
        self._feed: Feed | None = None
        self._closed = False
        self._due: deque[Callable[[], None]] = deque()
        """Calls that hand something to a watcher, in order."""

    def watch(
        self, topic: Topic, position: Position | None = None, final: Callable[[State], bool] | None = None
    ) -> Watch:
        """position: what the client knows already. final: whether nothing can follow a state."""
        watch = Watch(self, topic, position or RowPosition(), final)
        if self._closed:
            watch.close()
            return watch
        self._watches.setdefault(topic, set()).add(watch)
        self.ask(Wish(topic, watch.position.since, watch if watch.position.resumes else None))
        return watch

    def ask(self, wish: Wish) -> None:
        """Hand the wish to the feed; start another one if that has ended."""
        if self._feed is None or not self._feed.ask(wish):
            self._feed = Feed(self)
            self._feed.ask(wish)
            self._feed.start()

    def forget(self, watch: Watch) -> None:
        watches = self._watches.get(watch.topic, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(watch.topic, None)

    def close(self) -> None:
        """End all watches, and any that begins later: the process stops."""
        self._closed = True
        for watches in list(self._watches.values()):
            for watch in list(watches):
                watch.close()

    def close_all_of(self, logins: Collection[Login]) -> None:
        """End the watches of these logins, which have ended."""
        for watches in list(self._watches.values()):
            for watch in list(watches):
                if watch.login in logins:
                    watch.close()

    # --- for other threads -------------------------------------------------------------------------------------

    def logins(self) -> set[Login]:
        """The logins of all requests that watch something."""
        return {watch.login for watches in list(self._watches.values()) for watch in list(watches) if watch.login}

    @property
    def is_empty(self) -> bool:
        return not self._watches

    @property
    def is_closed(self) -> bool:
        return self._closed or self._loop.is_closed()

    def topics(self) -> list[Topic]:
        return list(self._watches)

    def is_watched(self, topic: Topic) -> bool:
        return topic in self._watches

    def publish(self, changes: Sequence[tuple[Topic, State]], gone: Iterable[Topic] = ()) -> None:
        """Hand these states to those who watch these topics. gone: rows that do not exist."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._deliver, changes, list(gone))

    def publish_page(self, readers: Sequence[Reader], states: Sequence[State], *, complete: bool) -> None:
        pages = [partial(reader.offer_page, states, complete=complete) for reader in readers]
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._hand_out, pages)

    def send_to_pages(self, topic: Topic) -> None:
        """Have those who watch these rows read page by page what has changed."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._let_catch_up, topic)

    def wait_for_delivery(self) -> None:
        """Return when all that was published has been handed to its watchers."""
        done = threading.Event()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._hand_out, [done.set])
        while not (done.wait(1) or self.is_closed):
            pass

    # --- on the event loop -------------------------------------------------------------------------------------

    def _deliver(self, changes: Sequence[tuple[Topic, State]], gone: list[Topic]) -> None:
        due: list[Callable[[], None]] = [
            partial(watch.offer, state) for topic, state in changes for watch in self._watches.get(topic, ())
        ]
        due += [watch.end for topic in gone for watch in self._watches.get(topic, ())]
        self._hand_out(due)

    def _let_catch_up(self, topic: Topic) -> None:
        self._hand_out([watch.catch_up for watch in self._watches.get(topic, ())])

    def _hand_out(self, due: Iterable[Callable[[], None]]) -> None:
        under_way = bool(self._due)
        self._due.extend(due)
        if not under_way:
            self._take_turn()

    def _take_turn(self) -> None:
        try:
            for _ in range(min(TURN, len(self._due))):
                self._due.popleft()()
        finally:  # the error of one call must not stop the others
            if self._due:
                self._loop.call_soon(self._take_turn)


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop: one in a web process."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub(loop)
    return _hubs[loop]
