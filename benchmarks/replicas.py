"""`python -m benchmarks.replicas`: how much of the reading do replicas take off the primary?

Four web processes run at the same time on the same servers, each with a database and a crowd of users of its own:
Legwork without replicas, with one, with two, and with two and django-multidb-router instead of its own router.
"""

import argparse
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.chart import Mark, bars
from benchmarks.crowd import User
from benchmarks.page import Page
from benchmarks.venvs import ROOT, python_of, versions
from demo.processes import stop_on_signals
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.redis import Redis
from tests.support.servers.standby import Standby, ask
from tests.support.stack import Stack

RESULTS = ROOT / "benchmarks" / "results"
BAR = 1.5
COUNT = """
    SELECT coalesce(sum(calls) FILTER (WHERE NOT of_the_probe), 0)::int,
        coalesce(sum(calls) FILTER (WHERE query ~* '^\\s*SELECT' AND query ~* '(jobs_|project_|auth_)'), 0)::int
    FROM (
        SELECT query, calls, query ~* '(pg_stat_|pg_current_wal_lsn|pg_last_xact)' AS of_the_probe
        FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS each
"""
METHOD = """\
In each period every user writes once (POST jobs/) and then reads 19 times: 12 times its latest job, 5 times its list of
jobs, twice the kinds of job. All web processes run at the same time against the same primary and the same two streaming
replicas, in separate databases. Statements are counted by pg_stat_statements, without those of the background probe
(about 1.3 a second for each web process, whatever the load). The share of reads counts SELECTs on the tables of jobs,
tokens and users. django-multidb-router runs in the same application with its default: a user reads from the primary for
15 s after a write."""
MAKE_USERS = """
from django.contrib.auth.models import User
from project.models import Token
for number in range({}):
    print(Token.objects.create(User.objects.create(username=f"user{{number}}"))[1])
"""
HEADINGS = ["", "requests", "not 2xx", "statements on the primary per 1,000 requests", "share of reads on replicas"]


@dataclass
class Side:
    """One way to route reads, and its figures. python: the interpreter of its environment."""

    name: str
    title: str
    replicas: int
    python: str = ""
    settings: str = "settings.development"
    requests: int = 0
    failed: int = 0
    on_primary: int = 0
    reads: list[int] = field(default_factory=list)
    """On each server, the primary first."""

    @property
    def per_thousand(self) -> float:
        return 1000 * self.on_primary / max(self.requests, 1)

    @property
    def share(self) -> float:
        return sum(self.reads[1:]) / max(sum(self.reads), 1)


class Web(Stack):
    """A stack with one web process, which may run under another interpreter."""

    def use(self, python: str) -> None:
        self.web = self._process("web", python, *self._web_command()[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console = Console(highlight=False)
    sides = [
        Side("none", "Legwork, no replica", 0),
        Side("one", "Legwork, 1 replica", 1),
        Side("two", "Legwork, 2 replicas", 2),
        Side("multidb", "django-multidb-router, 2 replicas", 2, python_of("multidb"), "benchmarks.multidb_settings"),
    ]
    facts = machine.facts() | {
        "size": f"{options.users} users each, a write every {options.period:g} s, {options.seconds:g} s",
        "django-multidb-router": versions("multidb")["django-multidb-router"],
    }
    with console.status("Servers and web processes start …"), _servers() as servers, ExitStack() as stack:
        webs = [stack.enter_context(_web(side, servers, options.folder)) for side in sides]
        stop = threading.Event()
        crowds = [_crowd(web, options.users, options.period, stop) for web in webs]
        console.print("Everything runs.")
        _measure(sides, crowds, servers, options)
        stop.set()
        for user in chain(*crowds):
            user.join()
    _show(console, sides)
    _write(options.results, sides, facts)
    return 1 if any(side.failed for side in sides) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicas", description=__doc__)
    parser.add_argument("--users", type=int, default=20, help="On each web process (default %(default)s).")
    parser.add_argument("--period", type=float, default=20, help="Seconds between a user's writes (%(default)s).")
    parser.add_argument("--seconds", type=float, default=80, help="How long is counted (default %(default)s).")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench", help="Where logs are put.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


@contextmanager
def _servers() -> Iterator[tuple[PostgreSQL, list[Standby], Redis]]:
    counted = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "off"}
    with PostgreSQL(settings=counted) as primary, Redis() as redis, ExitStack() as stack:
        ask(primary.url(), "CREATE EXTENSION pg_stat_statements")
        standbys = [stack.enter_context(Standby(primary)) for _ in range(2)]
        yield primary, standbys, redis


def _web(side: Side, servers: tuple[PostgreSQL, list[Standby], Redis], folder: Path) -> Web:
    primary, standbys, redis = servers
    database = f"bench_{side.name}"
    url = primary.create_database(database)
    ask(url, "CREATE EXTENSION pg_stat_statements")
    logs = folder / side.name
    logs.mkdir(parents=True, exist_ok=True)
    env = {
        "REPLICA_URLS": ",".join(standby.url(database) for standby in standbys[: side.replicas]),
        "CACHE_URL": redis.url(),
        "DJANGO_SETTINGS_MODULE": side.settings,
        "LOG_LEVEL": "WARNING",
    }
    web = Web(url, logs, clusters=0, env=env)
    if side.python:
        web.use(side.python)
    # Commands run under our own interpreter, which knows nothing of the peer.
    web.env = {**web.env, "DJANGO_SETTINGS_MODULE": "settings.development"}
    return web


def _crowd(web: Web, size: int, period: float, stop: threading.Event) -> list[User]:
    tokens = web.manage("shell", "--verbosity", "0", "--command", MAKE_USERS.format(size)).split()
    return [User(web.url, token, period, stop) for token in tokens]


def _measure(
    sides: Sequence[Side],
    crowds: Sequence[Sequence[User]],
    servers: tuple[PostgreSQL, list[Standby], Redis],
    options: argparse.Namespace,
) -> None:
    primary, standbys, _ = servers
    for user in chain(*crowds):
        user.start()
    time.sleep(options.period)  # everybody has written once
    ask(primary.url(), "SELECT pg_stat_statements_reset()")
    for standby in standbys:
        ask(standby.url(), "SELECT pg_stat_statements_reset()")
    before = [_asked(crowd) for crowd in crowds]
    time.sleep(options.seconds)
    for side, crowd, asked in zip(sides, crowds, before, strict=True):
        side.requests = _asked(crowd) - asked
        counts = [_count(server.url(f"bench_{side.name}")) for server in (primary, *standbys)]
        side.on_primary, side.reads = counts[0][0], [reads for _, reads in counts]
        side.failed = sum(n for user in crowd for status, n in user.statuses.items() if status >= 300)


def _asked(crowd: Sequence[User]) -> int:
    return sum(user.statuses.total() for user in crowd)


def _count(url: str) -> tuple[int, int]:
    statements, reads = ask(url, COUNT)
    return statements, reads


def _rows(sides: Sequence[Side]) -> list[list[str]]:
    return [
        [side.title, f"{side.requests:,}", f"{side.failed:,}", f"{side.per_thousand:,.0f}", f"{side.share:.1%}"]
        for side in sides
    ]


def _verdict(sides: Sequence[Side]) -> str:
    ours, theirs = sides[2].share, sides[3].share
    ratio = ours / theirs if theirs else float("inf")
    met = "met" if ratio >= BAR else "NOT MET"
    asked = f"{BAR} times the share of reads that django-multidb-router's pinning leaves to replicas"
    return f"Bar, {asked}: {met} ({ratio:.2f} times)."


def _show(console: Console, sides: Sequence[Side]) -> None:
    shown = Table(*HEADINGS)
    for row in _rows(sides):
        shown.add_row(*row)
    console.print(shown)
    console.print(_verdict(sides))


def _write(folder: Path, sides: Sequence[Side], facts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("Reads on replicas", "`python -m benchmarks.replicas` wrote this page.")
    page.facts(facts)
    page.text("![Share of reads served by replicas](replicas.svg)")
    page.table(HEADINGS, _rows(sides))
    page.text(_verdict(sides))
    page.section("How it is measured")
    page.text(METHOD)
    (folder / "replicas.md").write_text(page.markdown())
    marks = [Mark(side.title, side.share, f"{side.share:.1%}", ours=side.name != "multidb") for side in sides]
    (folder / "replicas.svg").write_text(bars("Share of reads served by replicas", marks))


if __name__ == "__main__":
    raise SystemExit(main())
