"""Wake-ups for Redis or SQS, on their way from a submit: a lone one is sent at once, those of a burst are joined."""

import os
import threading
from collections.abc import Callable, Mapping
from time import monotonic, sleep
from uuid import UUID

MAX_WAKEUPS = 10
"""Messages per channel and send, however many jobs it is about: one SQS batch."""
JOIN_WITHIN = 0.005
"""Seconds after a send until the next one. A connection to PostgreSQL sends no second NOTIFY for as long."""

Channel = tuple[str, bool]
"""Where workers wait: a queue, or the cluster's name for workers of all queues; and whether they are I/O workers."""
Wakeups = Mapping[Channel, list[str]]
"""Message bodies by channel. Channels of workers that serve all queues come first."""
JobIds = Mapping[Channel, list[UUID]]
"""Jobs that are to be announced, by their own channel: at most MAX_WAKEUPS of each."""


class JoinedWakeups:
    """Sends the wake-ups of this process. send_now: sends wake-ups for the given jobs immediately; must not raise.

    The thread that sends joined wake-ups ends as soon as there are none. It is no daemon thread, so a process that
    exits sends them first.
    """

    def __init__(self, send_now: Callable[[JobIds], None]) -> None:
        self._send_now = send_now
        self._reset()

    def send(self, jobs: JobIds) -> None:
        """Send in this thread; within JOIN_WITHIN after the last send, leave it to another one."""
        if self._process != os.getpid():  # after a fork: the parent has the thread, and sends what it has joined
            self._reset()
        with self._lock:
            is_lone = not self._has_thread and monotonic() >= self._next_send_at
            if not is_lone:
                self._join(jobs)
        if is_lone:
            self._send(jobs)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._joined: dict[Channel, list[UUID]] = {}
        self._has_thread = False
        self._next_send_at = 0.0
        self._process = os.getpid()  # at last: another thread must not take the parent's lock, which may be held

    def _join(self, jobs: JobIds) -> None:
        """Called under the lock."""
        if not self._has_thread:
            threading.Thread(target=self._send_joined, name="wakeups", daemon=False).start()
            self._has_thread = True
        for channel, ids in jobs.items():
            joined = self._joined.setdefault(channel, [])
            joined += ids[: MAX_WAKEUPS - len(joined)]

    def _send_joined(self) -> None:
        while jobs := self._take_joined():
            self._send(jobs)

    def _take_joined(self) -> JobIds:
        """What is joined until the next send is due. If it is nothing, the thread ends."""
        sleep(max(0, self._next_send_at - monotonic()))
        with self._lock:
            joined, self._joined = self._joined, {}
            self._has_thread = bool(joined)
        return joined

    def _send(self, jobs: JobIds) -> None:
        self._send_now(jobs)
        self._next_send_at = monotonic() + JOIN_WITHIN
