"""Records the day on which each token was last used: collected in memory, written by a thread, never by a request."""

import threading
from contextlib import AbstractContextManager
from datetime import date
from uuid import UUID

import structlog
from django.utils import timezone

from project.models import Token
from rest import outage
from rest.background import repeated

log = structlog.get_logger(__name__)

WRITE_EVERY = 10.0
"""Seconds. What a killed process has not written is noted again at the token's next use."""
MOST = 100_000
"""Tokens that one process records in a day; further ones have to wait for the next day."""


class LastUsed:
    """Thread-safe. Each process writes a token at most once a day; many tokens share a statement."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._day: date | None = None
        self._noted: set[UUID] = set()
        self._unwritten: dict[UUID, date] = {}

    def note(self, token_id: UUID, last_used_on: date | None) -> None:
        """last_used_on: the token's column, as loaded."""
        today = timezone.now().date()
        if last_used_on == today or (self._day == today and token_id in self._noted):
            return
        with self._lock:
            if self._day != today:
                self._day, self._noted = today, set()
            if len(self._noted) < MOST:
                self._noted.add(token_id)
                self._unwritten[token_id] = today

    def write(self) -> None:
        """Write what was noted. If the database is away, it is written next time."""
        with self._lock:
            unwritten, self._unwritten = self._unwritten, {}
        try:
            for day in set(unwritten.values()):
                tokens = [token_id for token_id, used_on in unwritten.items() if used_on == day]
                Token.objects.filter(pk__in=tokens).exclude(last_used_on__gte=day).update(last_used_on=day)
        except Exception as error:
            if not outage.database.note(error):
                log.warning("last_use_not_written", exc_info=True)
            with self._lock:
                self._unwritten = unwritten | self._unwritten

    def written(self) -> AbstractContextManager[None]:
        """A block during which what was noted is written every WRITE_EVERY seconds."""
        return repeated(self.write, every=WRITE_EVERY, name="last-used")


last_used = LastUsed()
