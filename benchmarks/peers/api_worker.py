"""The worker of the peers' APIs. Its task writes the job's end in one UPDATE, whichever API has stored the job.

BENCH_TABLE: the API's table of jobs. Celery is set up as in benchmarks/peers/celery.py; django-q2 calls finish() by its
name.
"""

import os
from functools import cache
from typing import Any

import psycopg2
from celery import Celery

FINISH = """
    UPDATE {} SET status = 'succeeded', attempt = 1, result = '{{"counted": 0}}', finished_at = now()
    WHERE id = %s
"""
app = Celery("bench", broker=f"{os.environ['REDIS_URL']}/0", backend=f"{os.environ['REDIS_URL']}/1")
app.conf.update(
    worker_prefetch_multiplier=100,
    accept_content=["json"],
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.run")
def finish(job_id: str) -> None:
    with _connection().cursor() as cursor:
        cursor.execute(FINISH.format(os.environ["BENCH_TABLE"]), [job_id])


@cache
def _connection() -> Any:
    """Each process's own, kept open."""
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    connection.autocommit = True
    return connection
