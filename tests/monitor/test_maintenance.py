"""The monitor's maintenance tasks."""

from contextlib import closing

import psycopg2
import pytest
import structlog
from django.db import connection

from monitor import maintenance


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps no old rows.")
def test_a_transaction_that_holds_a_snapshot_for_long_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "SNAPSHOT_HELD", -1.0)
    options = connection.get_connection_params() | {"application_name": "a long report"}
    with closing(psycopg2.connect(**options)) as holder, structlog.testing.capture_logs() as logs:
        holder.set_session(isolation_level="REPEATABLE READ")
        holder.cursor().execute("SELECT 1")
        assert maintenance.warn_of_held_snapshots() == 0
        assert "a long report" in " ".join(line["who"] for line in logs if line["event"] == "snapshot_held")
        holder.rollback()
        logs.clear()
        maintenance.warn_of_held_snapshots()
        assert "a long report" not in " ".join(line["who"] for line in logs)
