"""The monitor's maintenance tasks."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest
import structlog
from django.db import connection

from monitor import maintenance

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps no old rows."),
]


@contextmanager
def a_long_report(**options: str) -> Iterator[None]:
    """In the body, a transaction of another session holds a snapshot."""
    parameters = connection.get_connection_params() | {"application_name": "a long report"} | options
    with closing(psycopg2.connect(**parameters)) as holder:
        holder.set_session(isolation_level="REPEATABLE READ")
        holder.cursor().execute("SELECT 1")
        yield


def told_of() -> str:
    with structlog.testing.capture_logs() as logs:
        assert maintenance.warn_of_held_snapshots() == 0
    return " ".join(line["who"] for line in logs if line["event"] == "snapshot_held")


def test_a_transaction_that_holds_a_snapshot_for_long_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "SNAPSHOT_HELD", -1.0)
    with a_long_report():
        assert "a long report" in told_of()


def test_a_transaction_in_another_database_holds_back_no_row_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "SNAPSHOT_HELD", -1.0)
    with a_long_report(dbname="postgres"):
        assert "a long report" not in told_of()
