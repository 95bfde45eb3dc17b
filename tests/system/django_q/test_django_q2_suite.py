"""django-q2's own tests, which its package brings along at the locked version, against our brokers and our qcluster."""

import os
import re
import subprocess
import sys
from pathlib import Path

import django_q
import pytest

from demo.stack import ROOT
from tests.support.brokers import on_each
from tests.support.servers.redis import Redis

PACKAGES = Path(django_q.__file__).parent.parent
TESTS = 62
"""In django-q2 1.11.1."""
WITHIN = 600

LEFT_OUT = {
    "test_brokers.py::test_ironmq": "needs an account at IronMQ",
    "test_brokers.py::test_custom": "is about django-q's own Redis broker, at its default address",
    "test_admin.py::test_admin_views": "asks for pages that add, change and delete; the admin is read-only here",
    "test_brokers.py::test_redis": "configures django-q's Redis by Q_CLUSTER['redis'], which BROKER_URL replaces",
}
ON_THE_DATABASE = {
    "test_brokers.py::test_sqs": "configures django-q's SQS broker, and has no database for the one that it gets",
    "test_cluster.py::test_recycle": "counts the queries of saving, with a broker that acknowledges without one; "
    "fails with django-q's ORM broker as well",
}
NO_ID = "expects enqueue() to return an id by which a task is deleted; on Redis it returns the length of the queue"
ON_REDIS = {
    "test_brokers.py::test_orm": NO_ID,
    "test_brokers.py::test_mongo": NO_ID,
}
LEFT_OUT_ON = {"sqlite": LEFT_OUT | ON_THE_DATABASE, "redis": LEFT_OUT | ON_REDIS}
"""SQS is left out as a whole: the suite purges its queue before almost every test, which SQS allows once a minute.
PostgreSQL, too: the suite forks clusters inside the transaction of a test, which see its rows only where the database
is in the memory that is forked. Both have tests/system/django_q/test_features.py."""


@pytest.fixture(params=on_each([*LEFT_OUT_ON], "suite"))
def place(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def environment(place: str, redis_server: Redis, tmp_path: Path) -> dict[str, str]:
    """Of the suite's process. Its cluster is several processes, which share no cache in memory."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.system.django_q.django_q2_settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/suite.sqlite3",
        "BROKER_URL": redis_server.url(14) if place == "redis" else "orm://",
        # A cache for each place: a cluster's status stays there for some seconds, and test_broker would find it.
        "CACHE_URL": redis_server.url(15 if place == "redis" else 13),
    }


def test_django_q2s_own_tests_pass(place: str, environment: dict[str, str]) -> None:
    # Run apart: a cluster's status stays in the cache for some seconds, and test_broker looks there first.
    brokers = suite("test_brokers.py", place=place, environment=environment)
    others = suite(place=place, environment=environment)

    assert brokers + others == TESTS - len(LEFT_OUT_ON[place])


def suite(module: str = "", *, place: str, environment: dict[str, str]) -> int:
    """Run this module of the suite, or all but test_brokers; returns how many of its tests have passed."""
    options = ["-q", "-c", os.devnull, "--rootdir", str(PACKAGES), "-p", "no:cacheprovider", "-W", "ignore"]
    options += [f"--deselect=django_q/tests/{test}" for test in LEFT_OUT_ON[place]]
    options += [] if module else [f"--ignore={PACKAGES}/django_q/tests/test_brokers.py"]
    command = [sys.executable, "-m", "pytest", *options, str(PACKAGES / "django_q" / "tests" / module)]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN)
    assert run.returncode == 0, f"{run.stdout[-8000:]}{run.stderr[-2000:]}"
    [closing] = re.findall(r"^(\d+) passed(?:, \d+ deselected)? in ", run.stdout, re.MULTILINE)
    return int(closing)
