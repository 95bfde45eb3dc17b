"""Who is measured: each row of the table, how its workers are started, and what it runs on."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
WORKERS = 2
QUIET = "WARNING"
LEGWORK = "legwork-postgresql"


@dataclass(frozen=True, slots=True)
class Contender:
    """A queue that is measured. module: of benchmarks.peers; its environment has the same name. command: starts its
    workers, without the interpreter.

    processes: how often the command is started. store: where queue and results are. kept: what becomes of a job whose
    worker is killed. durable: whether a job is on the disk when its enqueue call returns. stored: what is kept of a
    finished job.
    """

    name: str
    title: str
    module: str
    command: tuple[str, ...]
    store: str
    kept: str
    processes: int = 1
    durable: bool = False
    stored: str = "result"
    env: dict[str, str] = field(default_factory=dict)

    @property
    def stores_results(self) -> bool:
        return self.stored.startswith("result")

    @property
    def settings(self) -> str:
        """How it is set up: the docstring of its module."""
        words = ast.get_docstring(ast.parse((PEERS / f"{self.module}.py").read_text())) or ""
        return " ".join(words.split())

    @property
    def shown_command(self) -> str:
        times = f" (started {self.processes} times)" if self.processes > 1 else ""
        return " ".join(self.command).removeprefix("-m ") + times


_LEGWORK = {"DJANGO_SETTINGS_MODULE": "benchmarks.settings", "WORKERS": str(WORKERS), "LOG_LEVEL": QUIET}
_DJANGO_Q2 = {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_q2_settings"}
_RQ = f"-m rq.cli worker-pool bench -n {WORKERS} -q -S json -u {{redis}}/0"


def words(command: str) -> tuple[str, ...]:
    return tuple(command.split())


def _pgqueuer(batch: int) -> Contender:
    return Contender(
        f"pgqueuer-{batch}",
        f"pgqueuer, batches of {batch}",
        "pgqueuer",
        words(f"-m benchmarks.peers.pgqueuer {batch}"),
        store="PostgreSQL",
        kept="runs again after 30 seconds",
        processes=WORKERS,
        durable=True,
        stored="a line in a log",
    )


def _django_tasks(backend: str, apps: str) -> dict[str, str]:
    settings = "benchmarks.peers.django_tasks_settings"
    return {"DJANGO_SETTINGS_MODULE": settings, "BENCH_BACKEND": backend, "BENCH_APPS": apps}


CONTENDERS = [
    Contender(
        LEGWORK,
        "Legwork on PostgreSQL",
        "legwork",
        words("manage.py qcluster"),
        store="PostgreSQL",
        kept="runs again",
        durable=True,
        stored="result, errors, progress",
        env=_LEGWORK,
    ),
    Contender(
        "legwork-redis",
        "Legwork on Redis",
        "legwork",
        words("manage.py qcluster"),
        store="Redis and PostgreSQL",
        kept="runs again",
        durable=True,
        stored="result, errors, progress",
        env={**_LEGWORK, "BROKER_URL": "{redis}/0"},
    ),
    Contender(
        "django-q2-orm",
        "django-q2, ORM broker",
        "django_q2",
        words("-m django qcluster"),
        store="PostgreSQL",
        kept="runs again after `retry` seconds",
        durable=True,
        env={**_DJANGO_Q2, "BENCH_BROKER": "orm"},
    ),
    Contender(
        "django-q2-redis",
        "django-q2, Redis broker",
        "django_q2",
        words("-m django qcluster"),
        store="Redis, results in PostgreSQL",
        kept="lost",
        env={**_DJANGO_Q2, "BENCH_BROKER": "redis"},
    ),
    Contender(
        "celery",
        "Celery",
        "celery",
        words(
            f"-m celery -A benchmarks.peers.celery worker --pool prefork --concurrency {WORKERS} --loglevel {QUIET}"
            " --without-gossip --without-mingle --without-heartbeat"
        ),
        store="Redis",
        kept="lost",
    ),
    Contender(
        "huey",
        "huey",
        "huey",
        words(f"-m huey.bin.huey_consumer benchmarks.peers.huey.queue -k process -w {WORKERS} -n -q"),
        store="Redis",
        kept="lost",
    ),
    Contender(
        "procrastinate",
        "procrastinate",
        "procrastinate",
        words("-m procrastinate --log-level warning --app benchmarks.peers.procrastinate.app worker --concurrency 10"),
        store="PostgreSQL",
        kept="stays `doing` until a task of one's own retries stalled jobs",
        processes=WORKERS,
        durable=True,
        stored="state",
    ),
    _pgqueuer(batch=100),
    _pgqueuer(batch=25),
    Contender(
        "awa",
        "awa",
        "awa_pg",
        words("-m benchmarks.peers.awa_pg"),
        store="PostgreSQL",
        kept="runs again after about 90 seconds",
        processes=WORKERS,
        durable=True,
        stored="state, for a while",
    ),
    Contender(
        "oban",
        "Oban for Python",
        "oban",
        words(
            f"-m oban start --dsn {{database}} --queues default:10 --log-level {QUIET} --cron-modules"
            " benchmarks.peers.oban"
        ),
        store="PostgreSQL",
        kept="runs again after five minutes",
        processes=WORKERS,
        durable=True,
    ),
    Contender(
        "chancy",
        "chancy",
        "chancy",
        words("-m chancy.cli.cli --app benchmarks.peers.chancy.app worker start"),
        store="PostgreSQL",
        kept="runs again after about two minutes; so may finished ones",
        processes=WORKERS,
        durable=True,
        stored="state, a second later",
    ),
    Contender(
        "django-ox",
        "django-ox",
        "django_ox",
        words(f"-m django ox_worker --processes {WORKERS}"),
        store="PostgreSQL",
        kept="runs again after five minutes",
        durable=True,
        env=_django_tasks("django_ox.backend.OxBackend", "django_ox"),
    ),
    Contender(
        "django-tasks-db",
        "django-tasks-db",
        "django_tasks_db",
        words("-m django db_worker --no-startup-delay --verbosity 0"),
        store="PostgreSQL",
        kept="stays `RUNNING`",
        processes=WORKERS,
        durable=True,
        env=_django_tasks("django_tasks_db.DatabaseBackend", "django_tasks django_tasks_db"),
    ),
    Contender(
        "rq-simple",
        "RQ, SimpleWorker",
        "rq",
        words(f"{_RQ} -w rq.worker.SimpleWorker"),
        store="Redis",
        kept="fails as abandoned",
    ),
    Contender("rq-fork", "RQ, forking", "rq", words(_RQ), store="Redis", kept="fails as abandoned"),
    Contender(
        "dramatiq",
        "dramatiq",
        "dramatiq",
        words(f"-m dramatiq benchmarks.peers.dramatiq --processes {WORKERS} --threads 8"),
        store="Redis",
        kept="runs again after about a minute",
    ),
]


def broker_url_is_understood() -> bool:
    """Whether Legwork's settings differ with a redis:// BROKER_URL."""
    urls = ("orm://", "redis://127.0.0.1:6379/0")
    return len({_cluster_settings(url) for url in urls}) == len(urls)


def _cluster_settings(broker_url: str) -> str:
    show = "import json; from django.conf import settings; print(json.dumps(settings.Q_CLUSTER, default=str))"
    env = {**os.environ, **_LEGWORK, "BROKER_URL": broker_url, "DATABASE_URL": "sqlite:///:memory:"}
    done = subprocess.run(  # noqa: S603 the command is ours
        [sys.executable, "-c", show], cwd=PEERS.parent.parent, env=env, capture_output=True, text=True
    )
    return json.dumps(json.loads(done.stdout)) if done.returncode == 0 else ""
