"""The feed: the thread of a web process that learns of changes, and reads the changed rows from the primary.

It lives while somebody watches, and IDLE seconds longer. After a lost connection it looks at all that is watched.

A watcher of one row is told at once. A watcher of all rows of an owner resumes by version, so it is told of changes in
the order of their versions: each is held back while an open transaction may still commit an earlier one.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import psycopg2
import structlog
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections

from rest import outage
from rest.pagination import MAX_PAGE_CHARACTERS
from rest.watch.sources import Settled, Source, Wakeup, source_for
from rest.watch.table import LARGEST, State, Table, Topic, table_named

log = structlog.get_logger(__name__)

OUTAGES = (DatabaseError, InterfaceError, psycopg2.Error, OSError)
RECONNECT_AFTER = 0.5
"""Seconds until a broken connection is opened again."""
READ_EVERY = 0.005
"""Seconds between two reads at least: what changes meanwhile is read together. A lone change is read at once."""
HOLD_BACK = 1_000_000
"""Microseconds for which a change is held back at most. A client that is told of a change while an earlier one may
still come resumes before both, and may be told of it again."""
SWEEP_EVERY = 15.0
"""Seconds after which the versions of all watched rows are compared, in case that a notification was lost."""
OVERLAP = 5_000_000
"""Microseconds of versions that are read again after a reconnection, as the new primary's clock may differ."""
PAGE = 500
"""Rows that a watcher of all rows of an owner gets at once when it comes back."""
PAGES_FOR = 0.05
"""Seconds of reading pages, after which other changes are told before the next page."""
MOST_AHEAD = MAX_PAGE_CHARACTERS
"""Characters that are published before the feed waits until all have been handed to their watchers."""
MOST_HELD = 4 * MAX_PAGE_CHARACTERS
"""Characters of changes that are held back. If there are more, they are dropped and read again page by page."""
IDLE = 60.0
"""Seconds without a watcher after which the thread ends."""


class Reader(Protocol):
    """A watcher of all rows of an owner that reads page by page: it has come back, or too much has changed at once."""

    def offer_page(self, states: Sequence[State], *, complete: bool) -> None: ...


class Audience(Protocol):
    """The hub, as its feed sees it. Its methods may be called from any thread."""

    @property
    def is_empty(self) -> bool:
        """True if nothing is watched."""

    @property
    def is_closed(self) -> bool:
        """True if nothing will ever be watched again."""

    def topics(self) -> list[Topic]: ...

    def is_watched(self, topic: Topic) -> bool: ...

    def publish(self, changes: Sequence[tuple[Topic, State]], gone: Iterable[Topic] = ()) -> None: ...

    def publish_page(self, readers: Sequence[Reader], states: Sequence[State], *, complete: bool) -> None: ...

    def send_to_pages(self, topic: Topic) -> None:
        """Have the watchers of all rows of this owner become Readers."""

    def wait_for_delivery(self) -> None:
        """Return when all that was published has been handed to its watchers."""


class Wish(NamedTuple):
    """since: changes up to this version are known. reader: the watcher that wants a page of an owner's newer rows."""

    topic: Topic
    since: int
    reader: Reader | None = None


class Feed(threading.Thread):
    def __init__(self, audience: Audience) -> None:
        super().__init__(name="feed", daemon=True)
        self._audience = audience
        self._lock = threading.Lock()
        self._ended = False
        self._wishes: list[Wish] = []
        self._wakeup = Wakeup()
        self._known: dict[Topic, int] = {}
        """The newest version that was read: of a row, or of any row of an owner."""
        self._rows: dict[str, set[UUID]] = defaultdict(set)
        """Rows to read next, by table."""
        self._owners: dict[str, dict[int, int]] = defaultdict(dict)
        """Owners any of whose rows may have changed, by table; and the version since which they are to be read."""
        self._pages: dict[Topic, list[tuple[int, Reader]]] = {}
        """The readers that wait for a page, each with the version after which the page is to begin."""
        self._held: dict[tuple[UUID, int], tuple[Topic, State]] = {}
        """Changes of which the watchers of their owner are to be told, by row and version."""
        self._settled = Settled(LARGEST, LARGEST)
        self._look_from = LARGEST
        """The lowest settled version since the last _look_at_all()."""
        self._ahead = 0
        """Characters that were published since the last wait_for_delivery()."""
        self._idle_since = time.monotonic()

    def ask(self, wish: Wish) -> bool:
        """False if the thread has ended."""
        with self._lock:
            if self._ended:
                return False
            self._wishes.append(wish)
            self._wakeup.set()
            return True

    def run(self) -> None:
        connection = connections[DEFAULT_DB_ALIAS]
        try:
            while not self._ends():
                try:
                    self._follow(source_for(connection, self._wakeup))
                except Exception as error:
                    if not outage.database.note(error):
                        log.warning("feed_interrupted", error=repr(error), exc_info=not isinstance(error, OUTAGES))
                    connection.close()
                    time.sleep(max(RECONNECT_AFTER, outage.database.pause()))
        finally:
            connection.close()
            self._wakeup.close()

    def _follow(self, source: Source) -> None:
        """Read and publish what changes, until nobody watches any more or the connection breaks."""
        self._look_at_all()
        sweep_at = time.monotonic() + SWEEP_EVERY
        while not self._ends():
            self._note_wishes()
            self._read()
            if self._held or self._pages:
                self._settle(source)
                self._read()
            self._release()
            self._read_pages()
            self._await_changes(source, READ_EVERY if self._held or self._pages else sweep_at - time.monotonic())
            if time.monotonic() >= sweep_at:
                self._compare_versions()
                sweep_at = time.monotonic() + SWEEP_EVERY

    def _await_changes(self, source: Source, within: float) -> None:
        """Wait for changes, and mark them: a lone change at once, several in quick succession together."""
        read_at = time.monotonic() + READ_EVERY
        look_at_all = source.wait(max(within, 0))
        if (pause := read_at - time.monotonic()) > 0:
            time.sleep(pause)
            look_at_all = source.wait(0) or look_at_all
        self._mark_changes(source, look_at_all)

    def _settle(self, source: Source) -> None:
        self._settled = source.settle()
        self._look_from = min(self._look_from, self._settled.version)
        self._mark_changes(source, source.wait(0))

    def _mark_changes(self, source: Source, look_at_all: bool) -> None:
        if look_at_all:
            self._look_at_all()
        for row, owner in source.changes():
            if self._audience.is_watched(row) or (owner and self._audience.is_watched(owner)):
                self._mark(row)

    def _ends(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._wishes or not self._audience.is_empty:
                self._idle_since = now
            self._ended = self._ended or self._audience.is_closed or now - self._idle_since > IDLE
            return self._ended

    def _note_wishes(self) -> None:
        with self._lock:
            wishes, self._wishes = self._wishes, []
        for topic, since, reader in wishes:
            self._known.setdefault(topic, since)
            if reader:
                self._pages.setdefault(topic, []).append((since, reader))
            elif isinstance(topic.key, UUID):
                self._mark(topic)

    def _mark(self, topic: Topic, since: int = 0) -> None:
        """Have the row read next, or the rows of the owner that are newer than `since`."""
        if isinstance(topic.key, UUID):
            self._rows[topic.table].add(topic.key)
        else:
            self._owners[topic.table][topic.key] = min(since, self._owners[topic.table].get(topic.key, since))

    def _look_at_all(self) -> None:
        self._note_wishes()
        self._compare_versions()
        for topic in self._audience.topics():
            if not isinstance(topic.key, UUID) and topic in self._known:
                self._mark(topic, min(self._known[topic], self._look_from) - OVERLAP)
        self._look_from = self._settled.version

    def _compare_versions(self) -> None:
        """Mark the watched rows whose version is not the one that was read last. Forget what is not watched."""
        topics = self._audience.topics()
        self._known = {topic: self._known[topic] for topic in topics if topic in self._known}
        rows = defaultdict(list)
        for topic in topics:
            if isinstance(topic.key, UUID):
                rows[topic.table].append(topic.key)
        for name, ids in rows.items():
            versions = table_named(name).versions(ids)
            self._rows[name].update(pk for pk in ids if versions.get(pk) != self._known.get(Topic(name, pk)))

    def _read(self) -> None:
        """Read what is marked. If that fails, it stays marked."""
        for name in {*self._rows, *self._owners}:
            table, ids, owners = table_named(name), self._rows[name], self._owners[name]
            if owners:
                ids |= self._changed_since(table, owners)
            if table.fit_together(ids):
                self._tell(table, table.states(ids), ids)
            else:
                self._tell_burst(table, ids)
            del self._rows[name], self._owners[name]

    def _changed_since(self, table: Table, owners: dict[int, int]) -> set[UUID]:
        """The changed rows of these owners; none if they are many, because the watchers then read them page by page."""
        changed = table.changed_since(owners, PAGE)
        if len(changed) <= PAGE:
            return changed
        for owner in owners:
            self._audience.send_to_pages(table.of_owner(owner))
        return set()

    def _tell(self, table: Table, states: Sequence[State], ids: Collection[UUID]) -> None:
        """Publish these rows. states: those of the rows that exist; the others are gone."""
        of_owners = []
        for state in states:
            self._remember(table.row(state.id), state.version)
            if state.owner is not None and self._remember(table.of_owner(state.owner), state.version):
                of_owners.append((table.of_owner(state.owner), state))
        self._hold(of_owners)
        gone = set(ids) - {state.id for state in states}
        self._publish([(table.row(state.id), state) for state in states], [table.row(pk) for pk in gone])

    def _tell_burst(self, table: Table, ids: Collection[UUID]) -> None:
        """Publish more rows than fit a page. Rows that are watched by themselves are read in portions. Watchers of all
        rows of an owner read page by page, each as fast as its client."""
        for owner, version in table.owners(ids).items():
            if self._remember(table.of_owner(owner), version):
                self._audience.send_to_pages(table.of_owner(owner))
        for portion in table.portions([pk for pk in ids if self._audience.is_watched(table.row(pk))]):
            self._tell(table, table.states(portion), portion)

    def _hold(self, changes: Iterable[tuple[Topic, State]]) -> None:
        self._held |= {(state.id, state.version): (topic, state) for topic, state in changes}
        if sum(state.characters for _, state in self._held.values()) > MOST_HELD:
            for topic in {topic for topic, _ in self._held.values()}:
                self._audience.send_to_pages(topic)
            self._held.clear()

    def _publish(self, changes: Sequence[tuple[Topic, State]], gone: Iterable[Topic] = ()) -> None:
        self._audience.publish(changes, gone)
        self._wait_if_ahead(state for _, state in changes)

    def _wait_if_ahead(self, states: Iterable[State]) -> None:
        self._ahead += sum(state.characters for state in states)
        if self._ahead > MOST_AHEAD:
            self._audience.wait_for_delivery()
            self._ahead = 0

    def _release(self) -> None:
        """Publish the held changes that are due, oldest first."""
        if due := self._due(sorted(self._held.values(), key=lambda change: change[1].version)):
            for _, state in due:
                del self._held[state.id, state.version]
            self._publish(due)

    def _read_pages(self) -> None:
        until = time.monotonic() + PAGES_FOR
        while self._pages and time.monotonic() < until:
            topic, [(since, _), *_] = next(iter(self._pages.items()))
            states, complete = table_named(topic.table).page(int(topic.key), since, PAGE)
            due = [state for _, state in self._due([(topic, state) for state in states])]
            self._audience.publish_page(self._readers_of(topic, since, states), due, complete=complete)
            if complete:
                self._hold((topic, state) for state in states[len(due) :])
            self._wait_if_ahead(due)

    def _readers_of(self, topic: Topic, since: int, states: Sequence[State]) -> list[Reader]:
        """Remove and return the readers that this page is right for: what they know ends right before its first row."""
        first = states[0].version if states else LARGEST
        waiting = self._pages.pop(topic)
        if others := [(known, reader) for known, reader in waiting if not since <= known < first]:
            self._pages[topic] = others
        return [reader for known, reader in waiting if since <= known < first]

    def _due(self, changes: Sequence[tuple[Topic, State]]) -> list[tuple[Topic, State]]:
        """Those of these changes that owners' watchers may be told of now. changes: in the order of their versions."""
        until = max(self._settled.version, self._settled.now - HOLD_BACK)
        due = [(topic, state) for topic, state in changes if state.version <= until]
        next_versions: dict[Topic, int] = {}
        for topic, state in reversed(due):
            # A client that is cut off between two changes of the same microsecond is told of both again.
            state.settled = min(self._settled.version, next_versions.get(topic, LARGEST) - 1)
            next_versions[topic] = state.version
        return due

    def _remember(self, topic: Topic, version: int) -> bool:
        """Note that this version of the topic was read. False if it is not watched."""
        if not self._audience.is_watched(topic):
            return False
        self._known[topic] = max(version, self._known.get(topic, version))
        return True
