"""Starts the one private PostgreSQL server of a test run, before Django's settings are read, and the stacks on demand.

DATABASE_URL in the environment comes first: `DATABASE_URL=sqlite:///:memory: pytest` runs what can run on SQLite.
"""

import gc
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.cache import cache
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.internal.conjecture import providers

from tests.support import template_database
from tests.support.flush import flush_only_used_tables
from tests.support.servers.folders import make_folder
from tests.support.servers.postgresql import PostgreSQL, create_database
from tests.support.servers.redis import Redis
from tests.support.servers.sqs import SQS
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

# Set here and not in pyproject.toml: pytest-django would read the settings before this file has started the server.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.test")

DATABASES = ["sqlite", "postgresql"]
SYSTEM = Path(__file__).parent / "system"
LOG_LINES = 40

_stacks: dict[str, Stack] = {}
"""The running stacks, by database."""

# No deadline and no complaint about slowness: they would test the machine. All examples of a test share its fixtures:
# each test with examples restores what it changes, or does not depend on it.
_anywhere = hypothesis_settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# The same code gets the same examples on every machine. A random example that fails would block changes that have
# nothing to do with it; `pytest --hypothesis-profile=explore` looks for such examples.
hypothesis_settings.register_profile("same", _anywhere, derandomize=True)
hypothesis_settings.register_profile("explore", _anywhere, derandomize=False, max_examples=1000)
hypothesis_settings.load_profile("same")
# Otherwise hypothesis would mix constants of all loaded modules, tests included, into the examples.
_constants_of_modules = providers._get_local_constants
providers._get_local_constants = lambda: (
    providers.Constants() if hypothesis_settings.default.derandomize else _constants_of_modules()
)


def pytest_configure(config: pytest.Config) -> None:
    """xdist's workers inherit the URL of the server that their controller has started."""
    if "DATABASE_URL" not in os.environ:
        _provide_database(config)
    template_database.folder = _shared_folder(config)
    # pytest-django sets Django up only if the settings were named before this file was read.
    django.setup()
    flush_only_used_tables()


def _shared_folder(config: pytest.Config) -> Path:
    if hasattr(config, "workerinput"):
        return Path(config.workerinput["templates"])
    folder = make_folder("templates")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A hook of pytest-xdist: called before it starts a worker."""
    node.workerinput["templates"] = str(template_database.folder)


def _provide_database(config: pytest.Config) -> None:
    if config.option.help or config.option.version or config.option.collectonly:
        os.environ["DATABASE_URL"] = "sqlite:///:memory:"
        return
    try:
        server = PostgreSQL()
    except RuntimeError as error:
        raise pytest.UsageError(str(error)) from None
    config.add_cleanup(server.remove)
    server.start()
    # A slow machine must not look like a server that is away.
    os.environ["DATABASE_URL"] = f"{server.url('legwork')}?connect_timeout={PATIENCE}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under xdist, all tests on one stack go to one worker, so that each stack is started once.

    Tests that wait for processes come first: the short ones fill the workers evenly at the end.
    """
    items.sort(key=lambda item: SYSTEM not in item.path.parents)
    for item in items:
        for database in DATABASES:
            if f"{database}_stack" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(database))
                item.add_marker(pytest.mark.stack)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collected tests live until the end, so the garbage collector need not search thousands of them repeatedly."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for stack in [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Stack)]:
            report.sections += [(f"the end of {name}", tail) for name, tail in stack.log_tails(LOG_LINES)]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Under xdist, a stack is stopped with the last of its tests: an idle one takes a tenth of a core."""
    yield
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    needed = {mark.args[0] for mark in nextitem.iter_markers("xdist_group")} if nextitem else set()
    for database in DATABASES:
        if database in _stacks and database not in needed:
            _stacks.pop(database).stop()


@pytest.fixture(autouse=True)
def _no_known_outages() -> None:
    from rest import outage

    for each in (outage.database, outage.broker, outage.cache):
        each.forget()


@pytest.fixture(autouse=True)
def _fresh_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, login attempts and rows of earlier tests do not count against the limits of this one.

    No thread counts, which would not see what the test's transaction has written.
    """
    from jobs.usage import unfinished_jobs
    from mail.usage import unsent_messages

    monkeypatch.setattr("rest.usage.WAIT_AFTER", 0.0)
    cache.clear()
    unfinished_jobs.forget()
    unsent_messages.forget()


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.xdist_group(name), pytest.mark.stack]) for name in DATABASES]
)
def stack(request: pytest.FixtureRequest) -> Stack:
    """Running web and worker processes, once on SQLite and once on PostgreSQL."""
    running: Stack = request.getfixturevalue(f"{request.param}_stack")
    return running


@pytest.fixture
def sqlite_stack(_sqlite_stack: Stack) -> Stack:
    return _revive("sqlite", _sqlite_stack)


@pytest.fixture
def postgresql_stack(_postgresql_stack: Stack) -> Stack:
    return _revive("postgresql", _postgresql_stack)


def _revive(database: str, stack: Stack) -> Stack:
    _stacks[database] = stack
    return stack.revive()


@pytest.fixture(scope="session")
def _sqlite_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("sqlite")
    with Stack(f"sqlite:///{folder}/legwork.sqlite3", folder) as stack:
        yield stack


@pytest.fixture(scope="session")
def _postgresql_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(make_database("stack"), tmp_path_factory.mktemp("postgresql")) as stack:
        yield stack


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def sqs_server() -> Iterator[SQS]:
    with SQS() as server:
        yield server


def make_database(name: str) -> str:
    """The URL of a new, empty PostgreSQL database; skips the test in a run on SQLite."""
    server = os.environ["DATABASE_URL"]
    if not server.startswith("postgres"):
        pytest.skip("DATABASE_URL names no PostgreSQL server.")
    return create_database(server, f"{name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
