"""The database router: where reads and writes go, with one database and with replicas."""

import pytest
from django.contrib.auth.models import User
from django.db import router, transaction

from jobs.models import Job
from project.models import Session
from rest.read_only import is_read
from routers import PRIMARY, PrimaryReplicaRouter, Route, pool, routed, use_primary, use_replica


@pytest.mark.parametrize("model", [Job, User])
def test_reads_and_writes_go_to_the_primary(model: type) -> None:
    assert (router.db_for_read(model), router.db_for_write(model)) == ("default", "default")


def test_an_instance_is_written_to_the_primary_wherever_it_was_read() -> None:
    job = Job(kind="demo.countdown")
    job._state.db = "replica"
    assert router.db_for_write(Job, instance=job) == "default"


def test_only_the_primary_is_migrated() -> None:
    assert PrimaryReplicaRouter().allow_migrate("default", "jobs")
    assert not PrimaryReplicaRouter().allow_migrate("replica", "jobs")


@pytest.fixture
def replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "replayed", {"replica1": 100, "replica2": 200})


def reads() -> str:
    return str(router.db_for_read(Job))


@pytest.mark.usefixtures("replicas")
def test_outside_of_requests_reads_go_to_the_primary_unless_replicas_are_asked_for() -> None:
    assert reads() == PRIMARY
    with use_replica():
        assert reads() in {"replica1", "replica2"}
        with use_primary():
            assert reads() == PRIMARY
    assert reads() == PRIMARY


@pytest.mark.usefixtures("replicas")
def test_replicas_that_are_asked_for_are_read_from_also_in_a_request_that_has_chosen_the_primary() -> None:
    with routed(Route(may_use_replicas=True, position=150, chosen=PRIMARY)):
        assert reads() == PRIMARY
        with use_replica():
            assert reads() == "replica2"
        assert reads() == PRIMARY


@pytest.mark.usefixtures("replicas")
def test_a_request_reads_from_one_replica_and_requests_spread_over_all() -> None:
    def request() -> str:
        with routed(Route(may_use_replicas=True)):
            [database] = {reads() for _ in range(10)}
            return database

    assert {request() for _ in range(100)} == {"replica1", "replica2"}


@pytest.mark.usefixtures("replicas")
@pytest.mark.parametrize(
    ("position", "good"), [(0, {"replica1", "replica2"}), (101, {"replica2"}), (200, {"replica2"}), (201, {PRIMARY})]
)
def test_only_replicas_that_have_replayed_the_position_are_read_from(position: int, good: set[str]) -> None:
    def request() -> str:
        with routed(Route(may_use_replicas=True, position=position)):
            return reads()

    assert {request() for _ in range(100)} == good


@pytest.mark.usefixtures("replicas")
def test_after_a_write_a_request_reads_from_the_primary() -> None:
    with routed(Route(may_use_replicas=True)):
        assert reads() != PRIMARY
        router.db_for_write(Job)
        assert reads() == PRIMARY


@pytest.mark.usefixtures("replicas")
@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_on_the_primary_reads_stay_there() -> None:
    with use_replica():
        with transaction.atomic():
            assert reads() == PRIMARY
        assert reads() != PRIMARY


@pytest.mark.usefixtures("replicas")
def test_rows_are_locked_on_the_primary() -> None:
    with use_replica():
        assert Job.objects.select_for_update().db == PRIMARY


@pytest.mark.usefixtures("replicas")
def test_a_replica_that_was_put_out_is_not_read_from_even_in_the_middle_of_a_request() -> None:
    with use_replica():
        del pool.replayed[reads()]
        [left] = pool.replayed
        assert reads() == left
        pool.replayed.clear()
        assert reads() == PRIMARY


@pytest.mark.usefixtures("replicas")
def test_sessions_are_read_from_the_primary_while_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with use_replica():
        assert router.db_for_read(Session) == PRIMARY
        monkeypatch.setattr(pool, "primary_is_out", True)
        assert router.db_for_read(Session) != PRIMARY


def test_objects_of_different_databases_may_be_related() -> None:
    job, user = Job(kind="demo.countdown"), User()
    job._state.db, user._state.db = PRIMARY, "replica1"
    job.user = user


READING = [
    'SELECT "jobs_job"."id" FROM "jobs_job"',
    "(SELECT 1) UNION (SELECT 2)",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "SELECT 'UPDATE it', \"update\" FROM t WHERE x = 'it''s DELETE'",
    "SELECT updated_at FROM t",
    "/* update */ SELECT 1 -- delete",
    "SELECT $a$ 'DELETE' $a$, E'\\' UPDATE', $$; DROP TABLE t$$;",
    "TABLE t",
    "SAVEPOINT a",
    "RELEASE SAVEPOINT a",
    "BEGIN",
]
WRITING = [
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = 1",
    "delete from t",
    "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
    "SELECT * FROM t FOR UPDATE SKIP LOCKED",
    "SELECT * INTO u FROM t",
    "SELECT * FROM t FOR KEY SHARE",
    "SELECT nextval('s')",
    "SELECT 1; DROP TABLE t",
    "EXPLAIN ANALYZE CREATE TABLE u AS SELECT 1",
    "EXPLAIN ANALYZE EXECUTE prepared",
    "SELECT $$'$$; DELETE FROM t; SELECT $$'$$",
    "SELECT a$x$ FROM t; DELETE FROM t WHERE b$x$ = 1",
    "SELECT E'\\''; DELETE FROM t --'",
    "SELECT 1 -- '\n; DELETE FROM t -- '",
    'DELETE FROM "project_session" WHERE true; DELETE FROM auth_user',
    "TRUNCATE t",
    "DROP TABLE t",
    "LOCK t",
    "CALL p()",
    "COPY t FROM STDIN",
    "SET ROLE other",
]


@pytest.mark.parametrize("sql", READING)
def test_a_statement_that_reads_is_known(sql: str) -> None:
    assert is_read(sql)


@pytest.mark.parametrize("sql", WRITING)
def test_a_statement_that_writes_is_known(sql: str) -> None:
    assert not is_read(sql)
