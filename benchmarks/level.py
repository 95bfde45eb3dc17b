"""A database with a given number of finished jobs, in which draining further ones is timed again and again."""

import time
from collections.abc import Mapping
from dataclasses import replace

import psycopg2

from benchmarks.client import pauses
from benchmarks.measure import WARM_UP
from benchmarks.roster import CONTENDERS, LEGWORK
from benchmarks.runner import Running
from benchmarks.stores import Stores

METHOD = """\
Each number of finished rows has a database of its own on one private PostgreSQL (fsync and synchronous_commit on, all
else default); rounds go over all of them in turn. The finished rows are copies of what a `bench.noop` leaves behind,
60 ms apart, with ids as they would have had.

In each round: the cluster (2 workers) is started on an empty queue, warmed up with 200 jobs and stopped with SIGSTOP;
the queued rows are inserted, one ms apart; VACUUM (ANALYZE) and a checkpoint follow. The clock starts with SIGCONT and
stops when the measured jobs, the oldest of the queued ones, have succeeded. Then the rows of the round are deleted."""

KEPT = "finished before"
"""The request_id of the finished rows, which stay from round to round."""

ID = """
    (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3)
     || '8' || substr(md5(random()::text), 1, 15))::uuid
"""
"""A UUIDv7 (RFC 9562, 5.7) of the time at which a job was made."""
MADE = {"id": ID, "created_at": "made", "run_at": "made"}
FINISHED = MADE | {"started_at": "made", "finished_at": "made", "request_id": f"'{KEPT}'"}
QUEUED = MADE | {"status": "'queued'", "attempt": "0", "worker": "''", "started_at": "NULL", "finished_at": "NULL"}
QUEUED |= {"result": "NULL", "progress": """'{"percent": 0, "message": ""}'"""}
"""Columns that differ from those of the job that is copied."""
COPY = """
    INSERT INTO jobs_job ({columns})
    SELECT {values}
    FROM (SELECT * FROM jobs_job WHERE status = 'succeeded' LIMIT 1) AS template,
        (SELECT now() - ({count} - number) * interval '{apart}' AS made
         FROM generate_series({first}, {last}) AS number) AS many
"""
COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = 'jobs_job' ORDER BY ordinal_position"
AT_ONCE = 500_000
"""Copies in one statement."""


class Level:
    """A database with so many finished rows. apart: the time from one to the next, as an SQL interval."""

    def __init__(self, stores: Stores, finished: int, name: str = "", apart: str = "60 ms") -> None:
        self.stores = stores
        self.finished = finished
        self.apart = apart
        legwork = next(contender for contender in CONTENDERS if contender.name == LEGWORK)
        self.contender = replace(legwork, name=name or f"growth-{finished}")
        self._url = stores.create_database(self.contender.name)

    def fill(self) -> None:
        """Have one job run, and copy its row."""
        with Running(self.contender, self.stores) as running:
            running.client.ask("prepare")
            running.start_workers()
            running.do_jobs(1)
        self._copy(self.finished, self.apart, FINISHED)
        self._tidy()

    def drain(self, queued: int, measured: int) -> float:
        """Jobs per second."""
        with Running(self.contender, self.stores) as running:
            running.start_workers()
            running.do_jobs(WARM_UP)
            running.workers.stop()
            self._copy(queued, "1 ms", QUEUED)
            self._execute("VACUUM (ANALYZE) jobs_job")
            self.stores.calm_down()
            rate = self._timed(running, measured)
        self._tidy()
        return rate

    def _copy(self, count: int, apart: str, changes: Mapping[str, str]) -> None:
        """Copy a succeeded job, whatever columns it has, so often; the copies were made so far apart, until now."""
        with psycopg2.connect(self._url) as connection, connection.cursor() as cursor:
            cursor.execute(COLUMNS)
            columns = [name for (name,) in cursor.fetchall()]
        values = ", ".join(changes.get(name, f"template.{name}") for name in columns)
        for first in range(1, count + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, count)
            span = {"count": count, "apart": apart, "first": first, "last": last}
            self._execute(COPY.format(columns=", ".join(columns), values=values, **span))

    def _timed(self, running: Running, measured: int) -> float:
        with psycopg2.connect(self._url) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT id FROM jobs_job WHERE status = 'queued' ORDER BY id LIMIT %s", [measured])
            ids = [pk for (pk,) in cursor.fetchall()]

            def done() -> int:
                cursor.execute(
                    "SELECT count(*) FROM jobs_job WHERE id BETWEEN %s AND %s AND status <> 'succeeded'",
                    [ids[0], ids[-1]],
                )
                return measured - int(cursor.fetchone()[0])

            began = time.monotonic()
            running.workers.resume()
            for pause in pauses(measured, done):
                time.sleep(pause)
            return measured / (time.monotonic() - began)

    def _tidy(self) -> None:
        self._execute(f"DELETE FROM jobs_job WHERE request_id <> '{KEPT}'")  # noqa: S608
        self._execute("VACUUM (ANALYZE) jobs_job")

    def _execute(self, statement: str) -> None:
        self.stores.execute(statement, self._url.rpartition("/")[2])
