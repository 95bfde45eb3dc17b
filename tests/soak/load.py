"""What keeps the cluster busy: jobs of all kinds, cancellations, and notifications without jobs."""

import itertools
import threading
import time
from collections import Counter

import psycopg2
from django.db import close_old_connections
from django.db.models import Count

from jobs.models import Job
from jobs.models.states import Status
from jobs.submit import submit, submit_many
from tests.soak.kinds import ENDLESS, NOW_AND_THEN, WAITING

TOP_UP_EVERY = 0.5
RARE_EVERY = 2.0
"""Seconds between two jobs of the kinds that take long."""
OCCUPYING, OCCUPYING_IN_THREAD = "soak.late", "soak.late_in_thread"
"""Take a worker or a thread for a second."""
OCCUPYING_JOBS = 10


class Load:
    """Called again and again by one thread."""

    def __init__(self) -> None:
        self._rare = itertools.cycle(NOW_AND_THEN)
        self._rare_at = 0.0
        self._top_up_at = 0.0

    @staticmethod
    def occupy_workers() -> None:
        """Keep all workers busy with long jobs for some seconds, in which the reserve worker looks for work.

        Until it works, the reserve worker shares most of its memory with the supervisor. When it first does, both have
        more memory of their own, which is no leak and has to happen before memory is compared, as have the first runs
        of these jobs.
        """
        submit_many(OCCUPYING, [{}] * OCCUPYING_JOBS)
        submit(OCCUPYING_IN_THREAD)

    def look(self) -> None:
        close_old_connections()
        now = time.monotonic()
        if now >= self._top_up_at:
            self._top_up()
            self.cancel()
            self._top_up_at = now + TOP_UP_EVERY
        if now >= self._rare_at:
            submit(next(self._rare))
            self._rare_at = now + RARE_EVERY

    def _top_up(self) -> None:
        rows = Job.objects.filter(status=Status.QUEUED).values_list("kind").annotate(count=Count("pk"))
        waiting = Counter(dict(rows))
        for kind, wanted in WAITING.items():
            if waiting[kind] < wanted:
                submit_many(kind, [{}] * (2 * wanted - waiting[kind]))

    @staticmethod
    def cancel() -> None:
        """Cancel the jobs that would not end by themselves."""
        for job in Job.objects.filter(kind__in=ENDLESS, status=Status.RUNNING, cancel_requested=False):
            job.cancel()


class Notifications(threading.Thread):
    """per_second notifications, each in a transaction of its own."""

    def __init__(self, database_url: str, per_second: float) -> None:
        super().__init__(name="notifications", daemon=True)
        self.sent = 0
        self._url = database_url
        self._per_second = per_second
        self._over = threading.Event()

    def run(self) -> None:
        connection = psycopg2.connect(self._url)
        connection.autocommit = True
        began = time.monotonic()
        with connection.cursor() as cursor:
            while not self._over.wait(max(0.0, began + self.sent / self._per_second - time.monotonic())):
                cursor.execute("SELECT pg_notify('legwork_jobs', '')")
                self.sent += 1
        connection.close()

    def stop(self) -> None:
        self._over.set()
        self.join()
