"""Counts webhooks by service and answer: collected in memory, written by a thread, never by a request."""

import threading
from collections import Counter as Numbers
from contextlib import AbstractContextManager
from enum import StrEnum

import structlog
from django.db import transaction

from jobs.models import Counter
from rest import outage
from rest.background import repeated

log = structlog.get_logger(__name__)

WEBHOOKS = "webhooks"
"""The name of the counter in the database."""
WRITE_EVERY = 2.0
"""Seconds. What a killed process has not written is not counted."""


class Outcome(StrEnum):
    """accepted: stored, or known already. unverified: its signature or secret is wrong. refused: never acceptable for
    another reason. failed: the provider should send it again."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNVERIFIED = "unverified"
    FAILED = "failed"


class WebhookCounts:
    """Thread-safe. The counts of one process, until they are added to the database's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unwritten: Numbers[tuple[str, str]] = Numbers()

    def note(self, service: str, outcome: Outcome) -> None:
        with self._lock:
            self._unwritten[service, outcome.value] += 1

    def write(self) -> None:
        """Add the counts to the database's. If that fails they are kept for the next call."""
        with self._lock:
            counts, self._unwritten = self._unwritten, Numbers()
        if not counts:
            return
        try:
            with transaction.atomic():
                Counter.objects.add(WEBHOOKS, counts)
        except Exception as error:
            if not outage.database.note(error):
                log.warning("webhook_counts_not_written", exc_info=True)
            with self._lock:
                self._unwritten += counts

    def written(self) -> AbstractContextManager[None]:
        """A context manager: a thread writes the counts every WRITE_EVERY seconds."""
        return repeated(self.write, every=WRITE_EVERY, name="webhook-counts")


webhook_counts = WebhookCounts()
