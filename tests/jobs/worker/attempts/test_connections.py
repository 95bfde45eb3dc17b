"""What a handler leaves behind on its connections is gone before the worker uses them."""

from collections.abc import Callable
from contextlib import suppress
from unittest.mock import patch

import pytest
from django.db import DatabaseError, InterfaceError, connection, transaction
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from jobs.worker.attempts import connections
from jobs.worker.attempts.connections import CleanConnections, abort_statements
from tests.support.factories import make_job

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="SQLite in memory has no connection that could be cut or closed."
    ),
]


def cut() -> None:
    connection.connection.close()


def cut_by_server() -> None:
    with suppress(DatabaseError, InterfaceError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def begin_without_django() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")


def fail_in_a_transaction_without_django() -> None:
    begin_without_django()
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def cut_just_after_a_statement() -> None:
    """Like an interruption just after the answer was read: the driver believes that it is still connected."""
    with patch.object(connections, "TRANSACTION_STATUS_ACTIVE", TRANSACTION_STATUS_IDLE):
        assert abort_statements([connection._connections[connection._alias]])


def enter_a_transaction() -> None:
    transaction.atomic().__enter__()


def leave_autocommit() -> None:
    transaction.set_autocommit(False)


@pytest.mark.parametrize(
    "leave",
    [
        enter_a_transaction,
        leave_autocommit,
        cut,
        cut_by_server,
        cut_just_after_a_statement,
        begin_without_django,
        fail_in_a_transaction_without_django,
    ],
)
@pytest.mark.parametrize("opened", [True, False], ids=["opened before", "opened by the handler"])
def test_a_connection_whose_state_was_changed_is_dropped(leave: Callable[[], None], opened: bool) -> None:
    connection.close()
    if opened:
        connection.ensure_connection()
    with CleanConnections():
        connection.ensure_connection()
        before = connection.connection
        leave()
    assert not connection.in_atomic_block
    assert connection.get_autocommit()
    assert connection.connection is not before
    make_job()


def test_a_connection_whose_state_was_not_changed_is_kept() -> None:
    connection.ensure_connection()
    before = connection.connection
    with CleanConnections(), transaction.atomic():
        make_job()
    assert connection.connection is before


def test_a_connection_in_a_transaction_of_the_caller_is_kept_if_the_body_leaves_it_as_deep() -> None:
    with transaction.atomic():
        before = connection.connection
        with CleanConnections(), transaction.atomic():
            make_job()
        assert connection.connection is before


def test_what_fails_while_a_connection_is_closed_does_not_hide_the_handlers_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise InterfaceError("closed already")

    with CleanConnections():
        enter_a_transaction()
        broken = connection.connection
        monkeypatch.setattr(connection._connections[connection._alias], "close", refuse)
    assert connection.connection is not broken
    broken.close()
    make_job()


def test_a_connection_that_executes_nothing_is_not_cut() -> None:
    connection.ensure_connection()
    with CleanConnections() as databases:
        assert abort_statements(databases) is False
        with transaction.atomic():
            make_job()
            assert abort_statements(databases) is False
    make_job()
