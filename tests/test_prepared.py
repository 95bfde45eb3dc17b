"""A job's INSERT is parsed and planned once for each connection, as the server itself counts."""

import pytest
from django.db import DatabaseError, connection, transaction

from jobs import prepared
from jobs.models import Job
from jobs.submit import submit
from tests.make import make_user

INSERT = "INSERT INTO jobs_job"

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL is told to prepare anything."),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture(autouse=True)
def _fresh_connection() -> None:
    connection.close()


def test_jobs_alike_are_inserted_by_one_statement_that_is_prepared_once() -> None:
    jobs = [submit("demo.countdown", {"seconds": seconds}) for seconds in (1, 2, 3)]
    assert statements(INSERT) == [3]
    assert [job.params for job in Job.objects.order_by("id")] == [job.params for job in jobs]


def test_jobs_with_other_columns_have_a_statement_of_their_own() -> None:
    owner = make_user()
    for user in (None, owner, None, owner):
        submit("demo.countdown", {"seconds": 1}, user=user)
    assert statements(INSERT) == [2, 2]
    assert [job.user for job in Job.objects.order_by("id")] == [None, owner, None, owner]


def test_a_new_connection_prepares_anew() -> None:
    for _ in range(2):
        submit("demo.countdown", {"seconds": 1})
        assert statements(INSERT) == [1]
        connection.close()


def test_a_statement_outlives_the_transaction_that_prepared_it() -> None:
    with transaction.atomic():
        submit("demo.countdown", {"seconds": 1})
        transaction.set_rollback(True)
    submit("demo.countdown", {"seconds": 1})
    assert statements(INSERT) == [2]
    assert Job.objects.count() == 1


def test_one_that_could_not_be_prepared_is_tried_again() -> None:
    """In a transaction that has failed the server takes nothing."""
    with transaction.atomic():
        with pytest.raises(DatabaseError, match="division"), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        with pytest.raises(DatabaseError, match="aborted"):
            prepared.execute(connection, "SELECT %s::int", [1])
        transaction.set_rollback(True)
    prepared.execute(connection, "SELECT %s::int", [1])
    assert statements("SELECT $1::int") == [1]


def test_behind_a_pooler_that_changes_sessions_nothing_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    submit("demo.countdown", {"seconds": 1})
    assert statements("") == []
    assert Job.objects.count() == 1


def statements(beginning: str) -> list[int]:
    """How often each prepared statement that contains this was executed on this connection."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement LIKE %s ORDER BY name",
            [f"%{beginning}%"],
        )
        return [count for (count,) in cursor.fetchall()]
