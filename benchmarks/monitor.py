"""`python -m benchmarks.monitor`: how long the task monitor's pages take beside a million jobs, and what its roll-ups
cost. One process and its own PostgreSQL server; each page is requested through Django's test client.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import django
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string
from rich.console import Console

from benchmarks import machine
from benchmarks.page import Page
from benchmarks.venvs import ROOT
from demo.processes import stop_on_signals
from tests.support.servers.postgresql import PostgreSQL, create_database

RESULTS = ROOT / "benchmarks" / "results"
PAGE_BAR, SEARCH_BAR, QUERIES_BAR = 0.3, 0.5, 15
FILL = """
    INSERT INTO jobs_job (id, user_id, kind, params, queue, pool, priority, timeout, max_attempts, budget, request_id,
        status, attempt, run_at, created_at, started_at, finished_at,
        worker, cancel_requested, progress, result, errors, version)
    SELECT (lpad(to_hex((extract(epoch FROM due) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3)
            || 'a' || substr(md5(i::text), 4, 15))::uuid,
        CASE WHEN i %% 3 = 0 THEN %(user)s END, kind, jsonb_build_object('order', i, 'url', 'https://' || i),
        CASE WHEN kind LIKE 'mail.%%' THEN 'mail' ELSE 'default' END, '', 0, 600, 3, 3, 'request-' || i,
        status, CASE WHEN status = 'queued' THEN 0 ELSE 1 END, due, due,
        CASE WHEN status <> 'queued' THEN due + interval '50 ms' END,
        CASE WHEN status <> 'queued' THEN due + interval '50 ms' + random() * interval '3 s' END,
        CASE WHEN status <> 'queued' THEN 'here:1' ELSE '' END, false, '{"percent": 100, "message": ""}', NULL,
        CASE WHEN status = 'failed' THEN jsonb_build_array(jsonb_build_object('attempt', 1, 'at', due, 'type',
            (ARRAY['TimedOut', 'Unreachable', 'ValueError'])[1 + i %% 3], 'message', 'order ' || i || ' is lost',
            'traceback', repeat('  File "/srv/app/project/kinds.py", line 7, in activity', 20))) ELSE '[]' END, 0
    FROM (SELECT i, %(first)s + (%(last)s::timestamptz - %(first)s) * (i::float / %(count)s) AS due,
            CASE WHEN %(queued)s THEN 'queued' WHEN i %% 50 = 0 THEN 'failed' ELSE 'succeeded' END AS status,
            CASE WHEN i %% 20000 = 7 THEN 'report.activity'
                ELSE (ARRAY['mail.send', 'mail.send', 'http.request', 'demo.countdown', 'mail.event'])[1 + i %% 5]
            END AS kind
        FROM generate_series(1, %(count)s) AS i) AS each
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console, facts = Console(highlight=False), machine.facts()
    server = PostgreSQL()
    try:
        server.start()
        os.environ |= {
            "DATABASE_URL": create_database(server.url("postgres"), "monitor"),
            "DJANGO_SETTINGS_MODULE": "settings.test",
        }
        django.setup()
        call_command("migrate", verbosity=0)
        with console.status("jobs are made …"):
            browser = fill(options.finished, options.queued)
        rolled_up = roll_up()
        rows = measure(browser, options.rounds)
    finally:
        server.remove()
    size = f"{options.finished:,} finished and {options.queued:,} queued jobs, {options.rounds} rounds"
    write(options.results, {**facts, "size": size}, rows, rolled_up, options.finished)
    for row in rows:
        console.print(*row, sep="  ")
    return 0


def fill(finished: int, queued: int) -> Client:
    """Make finished jobs of the last day and queued ones of the last hour; returns an operator's browser."""
    user = import_string("django.contrib.auth.models.User").objects.create_superuser("operator")
    timezone = import_string("django.utils.timezone.now")
    timedelta = import_string("datetime.timedelta")
    now = timezone()
    with connection.cursor() as cursor:
        for count, is_queued, back in ((finished, False, timedelta(hours=24)), (queued, True, timedelta(hours=1))):
            values = {"user": user.pk, "count": count, "queued": is_queued, "first": now - back}
            cursor.execute(FILL, values | {"last": now - timedelta(seconds=30)})
        cursor.execute("VACUUM ANALYZE jobs_job")
    browser = Client()
    browser.force_login(user)
    return browser


def roll_up() -> float:
    """Count all finished jobs, then sample the queues; returns how many seconds the counting took."""
    count = import_string("monitor.rollups.finished_jobs.count_finished_jobs")
    began = time.perf_counter()
    while count():
        pass
    took = time.perf_counter() - began
    import_string("monitor.rollups.depth.sample_depth")()
    return took


def measure(browser: Client, rounds: int) -> list[list[str]]:
    """Page, median milliseconds, queries, bar; for each page."""
    forget: Callable[[], None] = import_string("monitor.dashboard.parts.forget")
    job: Any = import_string("jobs.models.Job").objects.filter(status="failed").order_by("-id").first()
    pages = {
        "dashboard": "/admin/",
        "dashboard, live part": "/admin/?live=now",
        "dashboard, charts of an hour": "/admin/?live=charts",
        "dashboard, charts of a day": "/admin/?live=charts&span=day",
        "jobs": "/admin/jobs/job/",
        "jobs, live rows": "/admin/jobs/job/?live=rows",
        "jobs, queued": "/admin/jobs/job/?status=queued",
        "jobs, failed": "/admin/jobs/job/?status=failed",
        "jobs, a common kind": "/admin/jobs/job/?kind=http.request",
        "jobs, of a user": "/admin/jobs/job/?owner=operator",
        "a job": f"/admin/jobs/job/{job.pk}/change/",
        "errors": "/admin/errors/",
        "queues and kinds": "/admin/queues/",
        "search: id": f"/admin/jobs/job/?q={job.pk}",
        "search: params": "/admin/jobs/job/?q=order:500000",
        "search: error class": "/admin/jobs/job/?error=ValueError",
        "search: error text": "/admin/jobs/job/?q=order 500 is lost",
        "search: a rare kind": "/admin/jobs/job/?kind=report.activity",
    }
    rows = []
    for name, path in pages.items():
        times = []
        browser.get(path)  # templates are compiled at their first use
        for _ in range(rounds):
            forget()
            began = time.perf_counter()
            assert browser.get(path).status_code == 200  # noqa: S101
            times.append(time.perf_counter() - began)
        forget()
        with CaptureQueriesContext(connection) as queries:
            browser.get(path)
        bar = SEARCH_BAR if name.startswith("search") else PAGE_BAR
        took, met = median(times), median(times) <= bar and len(queries) <= QUERIES_BAR
        rows.append([name, f"{took * 1000:.0f}", str(len(queries)), f"{bar * 1000:.0f}", "yes" if met else "no"])
    return rows


def write(folder: Path, facts: dict[str, str], rows: list[list[str]], rolled_up: float, finished: int) -> None:
    page = Page("The task monitor beside many jobs", "`python -m benchmarks.monitor` writes this page.")
    page.facts(facts)
    page.table(["page", "median, ms", "queries", "bar, ms", f"met, with at most {QUERIES_BAR} queries"], rows)
    cost = f"{rolled_up / finished * 1e6:.1f} µs a job"
    page.text(f"Counting the {finished:,} finished jobs into minutes took {rolled_up:.1f} s of wall time: {cost}.")
    page.text(
        "A search without an index reads backwards from the newest job for about 0.3 s and then offers to go on. So its"
        " time is bounded, and its first page may be empty although there are matches."
    )
    (folder / "monitor.md").write_text(page.markdown())


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=__doc__)
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
