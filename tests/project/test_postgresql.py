"""What is set for our connections to PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.db import DatabaseError, InterfaceError, connection, transaction

from demo.eventually import eventually

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="They are PostgreSQL's settings."),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture(autouse=True)
def _new_connections() -> Iterator[None]:
    connection.close()
    yield
    connection.close()


def test_a_session_that_idles_in_a_transaction_is_ended_by_the_server(settings: Any) -> None:
    settings.IDLE_TRANSACTION_TIMEOUT = 1
    with pytest.raises((DatabaseError, InterfaceError)):
        idle_in_a_transaction()


@transaction.atomic
def idle_in_a_transaction() -> None:
    pid = selected("SELECT pg_backend_pid()")
    eventually(lambda: not is_alive(pid), 30, "the end of the session")
    selected("SELECT 1")


def test_both_limits_are_set_where_the_server_has_them(settings: Any) -> None:
    settings.IDLE_TRANSACTION_TIMEOUT, settings.TRANSACTION_TIMEOUT = 60, 120
    assert selected("SHOW idle_in_transaction_session_timeout") == "1min"
    has_the_other = connection.connection.server_version >= 170000
    assert selected("SELECT current_setting('transaction_timeout', true)") == ("2min" if has_the_other else None)


def test_statements_are_not_compiled_to_machine_code() -> None:
    assert selected("SHOW jit") == "off"


def selected(query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def is_alive(pid: int) -> bool:
    with closing(psycopg2.connect(**connection.get_connection_params())) as other, other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid])
        return bool(cursor.fetchone()[0])
