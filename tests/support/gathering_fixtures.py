"""Fixtures: committed users, tokens and jobs, because gathered statements have connections of their own."""

from collections.abc import Iterator
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections

from project import asgi
from tests.support.gathering import Paths, World, make_jobs, make_tokens
from tests.support.timeouts import PATIENCE

END_OTHER_CONNECTIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with django_db_blocker.unblock():
        if connection.vendor != "postgresql":
            pytest.skip("needs PostgreSQL: nothing is gathered on other databases")
        users = {name: User.objects.create_user(name) for name in ("ada", "bob", "gone")}
        try:
            yield World(make_tokens(users), make_jobs(users))
        finally:
            _disconnect_threads(settings.WEB_THREADS)
            with connection.cursor() as cursor:
                cursor.execute(END_OTHER_CONNECTIONS)
            call_command("flush", verbosity=0, interactive=False)


def _disconnect_threads(number: int) -> None:
    """The pool's threads answer requests of other tests, which have no database."""
    together = Barrier(number)

    def disconnect(_: int) -> None:
        together.wait(PATIENCE)
        connections.close_all()

    assert list(asgi.pool.executor.map(disconnect, range(number))) == [None] * number


@pytest.fixture
def paths(world: World, monkeypatch: pytest.MonkeyPatch) -> Paths:
    return Paths(monkeypatch)
