"""Statements that are built once: queries that Django compiles, and an INSERT that PostgreSQL plans, once."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.forms.models import model_to_dict
from django.utils import timezone

from jobs.models import Job
from jobs.models.statements import CompiledQuery, Parameter, execute_prepared
from jobs.submit import submit
from jobs.worker.attempts.interrupt import Cancelled
from tests.support.factories import make_job, make_user, row

INSERT = "INSERT INTO jobs_job"

pytestmark = pytest.mark.django_db(transaction=True)

prepares = pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL is told to prepare anything.")


@pytest.fixture(autouse=True)
def _fresh_connection() -> None:
    """A new connection, on which nothing is prepared yet."""
    connection.close()


@pytest.mark.parametrize("backoff", [None, {"attempts": 3}])
@pytest.mark.parametrize("params", [{}, {"text": "%s ü", "list": [1, None, {"a": 0.5}]}])
def test_a_job_is_inserted_as_save_would_store_it(backoff: dict[str, int] | None, params: dict[str, object]) -> None:
    fields = {"kind": "test.kind", "timeout": 7, "user": make_user(), "unique_key": "x", "created_at": timezone.now()}
    inserted, saved = [Job(params=params, backoff=backoff, run_at=timezone.now(), **fields) for _ in range(2)]
    Job.objects.insert([inserted])
    found = row(inserted)
    Job.objects.all().delete()
    saved.pk, saved.run_at, saved.version = inserted.pk, inserted.run_at, found["version"]
    saved.save(force_insert=True)
    assert found == row(saved)
    assert not inserted._state.adding


def test_an_insertion_that_is_refused_spoils_its_transaction_as_save_would() -> None:
    job = make_job()
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            Job.objects.insert([Job(pk=job.pk, kind="test.kind", timeout=1)])
        assert transaction.get_rollback()
    assert Job.objects.get() == job


@prepares
def test_jobs_alike_are_inserted_by_one_statement_that_is_prepared_once() -> None:
    jobs = [submit("demo.countdown", {"seconds": seconds}) for seconds in (1, 2, 3)]
    assert statements(INSERT) == [3]
    assert [job.params for job in Job.objects.order_by("id")] == [job.params for job in jobs]


@prepares
def test_jobs_with_and_without_an_owner_share_a_statement() -> None:
    owner = make_user()
    for user in (None, owner, None, owner):
        submit("demo.countdown", {"seconds": 1}, user=user)
    assert statements(INSERT) == [4]
    assert [job.user for job in Job.objects.order_by("id")] == [None, owner, None, owner]


@prepares
def test_a_new_connection_prepares_anew() -> None:
    for _ in range(2):
        submit("demo.countdown", {"seconds": 1})
        assert statements(INSERT) == [1]
        connection.close()


@prepares
def test_a_statement_outlives_the_transaction_that_prepared_it() -> None:
    with transaction.atomic():
        submit("demo.countdown", {"seconds": 1})
        transaction.set_rollback(True)
    submit("demo.countdown", {"seconds": 1})
    assert statements(INSERT) == [2]
    assert Job.objects.count() == 1


@prepares
def test_a_statement_that_could_not_be_prepared_is_prepared_later() -> None:
    """In a transaction that has failed the server prepares nothing."""
    with transaction.atomic():
        with pytest.raises(DatabaseError, match="division"), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        with pytest.raises(DatabaseError, match="aborted"):
            execute_prepared(connection, "SELECT %s::int", [1])
        transaction.set_rollback(True)
    execute_prepared(connection, "SELECT %s::int", [1])
    assert statements("SELECT $1::int") == [1]


@prepares
def test_a_statement_whose_preparation_was_interrupted_is_prepared_again() -> None:
    """The server had prepared it already when the exception came, so that its name is taken."""

    def interrupt_after(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        done = execute(sql, *rest)
        if sql.startswith("PREPARE"):
            raise Cancelled("now")
        return done

    with pytest.raises(Cancelled), connection.execute_wrapper(interrupt_after):
        submit("demo.countdown", {"seconds": 1})
    for _ in range(2):
        submit("demo.countdown", {"seconds": 1})
    assert sorted(statements(INSERT)) == [0, 2]
    assert Job.objects.count() == 2


@prepares
def test_behind_a_pooler_that_changes_sessions_nothing_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    submit("demo.countdown", {"seconds": 1})
    assert statements("") == []
    assert Job.objects.count() == 1


def test_a_query_is_compiled_once_and_executed_with_other_values() -> None:
    built: list[str] = []

    def build(kind: str) -> Any:
        built.append(kind)
        own = Job.objects.filter(pk=Parameter("pk", Job._meta.pk), kind=kind)
        return own.filter(priority__lt=Parameter("below", Job._meta.get_field("priority"))).values_list("timeout")

    query = CompiledQuery(build)
    short, long = make_job(timeout=5, priority=1), make_job(timeout=500, priority=1)
    assert query.first(short.kind, pk=short.pk, below=2) == (5,)
    assert query.first(short.kind, pk=long.pk, below=2) == (500,)
    assert query.first(short.kind, pk=long.pk, below=1) is None
    assert query.first("another", pk=long.pk, below=2) is None
    assert built == [short.kind, "another"]


def test_a_value_that_equals_a_constant_of_the_query_changes_nothing_else() -> None:
    query = CompiledQuery(
        lambda: Job.objects.filter(kind="a", unique_key=Parameter("key", Job._meta.get_field("kind")))
    )
    make_job(kind="a", unique_key="b")
    make_job(kind="b", unique_key="a")
    assert query.sql(key="a")[1] == ["a", "a"]
    assert query.first(key="b")
    assert query.first(key="a") is None


def test_an_object_is_what_django_makes_of_its_row() -> None:
    number = Parameter("attempt", Job._meta.get_field("attempt"))
    query = CompiledQuery(lambda: Job.objects.filter(attempt=number).annotate(doubled=F("attempt") * 2).defer("errors"))
    job = make_job("failed", result=[1, {"a": 0.5}], user=make_user(), backoff={"base": 2.5})
    found = query.instance(Job, attempt=1)
    assert found is not None
    assert vars(found)["doubled"] == 2
    assert found.get_deferred_fields() == {"errors"}
    assert model_to_dict(found) == model_to_dict(Job.objects.get(pk=job.pk))
    assert (found._state.db, found._state.adding) == (DEFAULT_DB_ALIAS, False)
    assert query.instance(Job, attempt=2) is None


def statements(part: str) -> list[int]:
    """How often each prepared statement that contains this was executed on this connection."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement LIKE %s ORDER BY name",
            [f"%{part}%"],
        )
        return [count for (count,) in cursor.fetchall()]
