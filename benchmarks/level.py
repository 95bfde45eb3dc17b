"""A database with a given number of finished jobs, in which draining further ones is timed again and again."""

import time
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

COPY = """
    INSERT INTO jobs_job
    SELECT (jsonb_populate_record(template, jsonb_build_object('created_at', made, 'run_at', made, 'id',
        lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3)
        || '8' || substr(md5(random()::text), 1, 15)) || {changes})).*
    FROM (SELECT jobs_job AS template FROM jobs_job WHERE status = 'succeeded' LIMIT 1) AS one,
        (SELECT now() - ({count} - number) * interval '{apart}' AS made
         FROM generate_series(1, {count}) AS number) AS many
"""
"""Copies of a succeeded job, whatever columns it has, with UUIDv7 ids (RFC 9562, 5.7) of the times they were made."""

FINISHED = f"""jsonb_build_object('started_at', made, 'finished_at', made, 'request_id', '{KEPT}')"""
QUEUED = """'{"status": "queued", "attempt": 0, "worker": "", "started_at": null, "finished_at": null,
    "result": null, "progress": {"percent": 0, "message": ""}}'"""


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
        self._execute(COPY.format(count=self.finished, apart=self.apart, changes=FINISHED))
        self._tidy()

    def drain(self, queued: int, measured: int) -> float:
        """Jobs per second."""
        with Running(self.contender, self.stores) as running:
            running.start_workers()
            running.do_jobs(WARM_UP)
            running.workers.stop()
            self._execute(COPY.format(count=queued, apart="1 ms", changes=QUEUED))
            self._execute("VACUUM (ANALYZE) jobs_job")
            self.stores.calm_down()
            rate = self._timed(running, measured)
        self._tidy()
        return rate

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
