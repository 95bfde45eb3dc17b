"""Low-water marks: claims above them find what plain claims find, and what lies below is found soon."""

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.models import Job
from jobs.models.queue import claiming, low_water, sql, sql_above_marks
from jobs.models.queue.claim import Claim
from jobs.models.queue.due import STARVED_AFTER
from jobs.models.queue.low_water import FULL_LOOK_EVERY, SETTLED, SHARE, LowWater, LowWaters
from jobs.models.states import Status
from rest import every
from tests.support.claims import claim_jobs, due_jobs, make_claim
from tests.support.factories import WORKER, make_job

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
NOW = timezone.now()
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL claims above marks.")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    time = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(every, "time", SimpleNamespace(monotonic=lambda: time.now))
    return time


@pytest.fixture
def _all_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look from the beginning counts as slow, so that there are always marks."""
    monkeypatch.setattr(claiming, "SLOW_LOOK", -1.0)
    monkeypatch.setattr(claiming, "SLOW_CLAIM", -1.0)
    monkeypatch.setattr(claiming, "MANY_PAGES", -1)
    monkeypatch.setattr(low_water, "FULL_LOOK_EVERY", HOUR.total_seconds())
    monkeypatch.setattr(low_water, "ASK_EVERY", 0.0)
    monkeypatch.setattr(low_water, "SHARE", 0.0)


def job(priority: int, run_at: datetime) -> Any:
    return SimpleNamespace(priority=priority, run_at=run_at)


def marked(*found: Any, by_age: bool = False) -> LowWater:
    """Marks that stay for hours."""
    marks = LowWater(STARVED_AFTER if by_age else None)
    marks.start_at(found[0] if found else None, HOUR.total_seconds(), NOW, ())
    marks.learn(found, NOW)
    return marks


def test_while_looks_from_the_beginning_are_quick_there_are_no_marks(clock: SimpleNamespace) -> None:
    marks = LowWater()
    assert not marks.marks
    marks.start_at(job(0, NOW), 0.001, NOW, ())
    assert marks.marks
    marks.forget()
    assert not marks.marks


def test_after_a_slow_look_claims_start_above_what_was_found(clock: SimpleNamespace) -> None:
    assert marked(job(5, NOW - HOUR), job(5, NOW), job(0, NOW)).marks == ((5, NOW), (0, NOW))


def test_a_look_from_the_beginning_ends_the_marks_of_lower_priorities() -> None:
    marks = marked(job(5, NOW - HOUR), job(0, NOW - HOUR))
    marks.start_at(job(5, NOW), 1.0, NOW, ())
    assert marks.marks == ((5, NOW),)


@pytest.mark.parametrize("by_age", [None, STARVED_AFTER])
def test_nothing_above_the_marks_leads_to_a_look_from_the_beginning(
    clock: SimpleNamespace, by_age: timedelta | None
) -> None:
    marks = LowWater(by_age)
    marks.start_at(None, 0.001, NOW, ())
    assert not marks.may_look_fully()  # a moment after the last one
    clock.now += 0.001 * SHARE
    assert marks.may_look_fully()


@pytest.mark.parametrize("by_age", [None, STARVED_AFTER])
@pytest.mark.parametrize(("seconds", "every"), [(0.001, FULL_LOOK_EVERY), (10.0, 10.0 * SHARE)])
def test_every_so_often_a_claim_starts_from_the_beginning(
    clock: SimpleNamespace, by_age: timedelta | None, seconds: float, every: float
) -> None:
    marks = LowWater(by_age)
    marks.start_at(job(0, NOW), seconds, NOW, ())
    clock.now += every - 0.001
    assert not marks.is_full_look_due()
    clock.now += 0.002
    assert marks.is_full_look_due()


def test_an_idle_worker_claims_before_it_looks_from_the_beginning(clock: SimpleNamespace) -> None:
    marks = LowWater()
    marks.start_at(job(0, NOW), 0.001, NOW, ())
    marks.learn([], NOW)
    clock.now += HOUR.total_seconds()
    assert not marks.is_full_look_due()
    assert marks.may_look_fully()


def test_after_a_slow_claim_by_age_that_found_nothing_there_is_none_for_a_while(clock: SimpleNamespace) -> None:
    by_priority, by_age = LowWater(), LowWater(STARVED_AFTER)
    for marks in (by_priority, by_age):
        marks.learn([job(0, NOW)], NOW, seconds=1.0)
        assert marks.may_claim()
        marks.learn([], NOW, seconds=1.0)
    assert by_priority.may_claim()
    clock.now += SHARE - 0.001
    assert not by_age.may_claim()
    clock.now += 0.002
    assert by_age.may_claim()


def test_where_nothing_is_left_the_mark_follows_the_clock() -> None:
    marks = marked(job(5, NOW - HOUR))
    marks.learn([job(0, NOW - HOUR)], NOW, priorities=[7, -1])
    assert marks.marks == ((7, NOW - SETTLED), (5, NOW - SETTLED), (0, NOW - HOUR))
    marks.learn([], NOW)
    assert {mark for _, mark in marks.marks} == {NOW - SETTLED}


def test_by_age_there_is_one_mark() -> None:
    marks = marked(job(5, NOW - HOUR), job(0, NOW - HOUR / 2), by_age=True)
    assert marks.marks == ((0, NOW - HOUR / 2),)
    marks.learn([], NOW)
    assert marks.marks == ((0, NOW - STARVED_AFTER - SETTLED),)


def test_a_mark_is_raised_to_the_clock_and_never_lowered() -> None:
    ahead, lowest = NOW, -(2**15)
    marks = marked(job(5, ahead), job(lowest, NOW - HOUR))
    marks.learn([], NOW)
    assert marks.marks == ((5, ahead), (lowest, NOW - SETTLED))


def test_a_look_that_found_nothing_marks_the_priorities_of_recent_jobs() -> None:
    marks = LowWater()
    marks.start_at(None, 1.0, NOW, [7])
    assert marks.marks == ((7, NOW - SETTLED),)


def test_before_the_first_look_from_the_beginning_every_look_is_due() -> None:
    marks = LowWater()
    assert not marks.is_full_look_due()  # it has not found a job yet
    marks.learn([job(0, NOW)], NOW)
    assert marks.is_full_look_due()
    assert marks.may_look_fully()
    by_age = LowWater(STARVED_AFTER)
    by_age.learn([], NOW)
    assert by_age.may_claim()


def test_whether_there_are_dead_entries_is_asked_once_a_second(clock: SimpleNamespace) -> None:
    marks = LowWater()
    asked = []
    for pause in (0.0, 0.9, 0.2):
        clock.now += pause
        asked.append(marks.may_ask())
    assert asked == [True, False, True]


def test_intervals_include_their_last_moment(clock: SimpleNamespace) -> None:
    marks = LowWater(STARVED_AFTER)
    marks.start_at(job(0, NOW), 0.0, NOW, ())
    clock.now += FULL_LOOK_EVERY
    assert marks.is_full_look_due()
    marks.learn([], NOW, seconds=1.0)
    clock.now += SHARE
    assert marks.may_claim()
    assert marks.may_ask()
    clock.now += low_water.ASK_EVERY
    assert marks.may_ask()


def test_claims_by_age_have_marks_as_far_behind_the_clock_as_their_age() -> None:
    marks = LowWaters()
    for users in ((), (1,)):
        by_age, by_priority = (marks.of(overdue, users) for overdue in (STARVED_AFTER, None))
        for each in (by_age, by_priority):
            each.learn([], NOW, [3])
        assert by_age.marks == ((0, NOW - STARVED_AFTER - SETTLED),)
        assert by_priority.marks == ((3, NOW - SETTLED),)


def test_each_sort_of_claim_has_its_own_marks() -> None:
    marks = LowWaters()
    sorts: list[tuple[timedelta | None, tuple[int, ...]]] = [(None, ()), (None, (1,)), (HOUR, ()), (HOUR, (1,))]
    found = [marks.of(*each) for each in sorts]
    assert len(set(map(id, found))) == len(sorts)
    assert [marks.of(*each) for each in sorts] == found
    assert marks.of(None, (2,)) not in found


@on_postgresql
@pytest.mark.django_db
@pytest.mark.usefixtures("_all_slow")
@pytest.mark.parametrize("queues", [None, ["default"], ["default", "other"]])
@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.lists(st.integers(-2, 2), min_size=1, max_size=5), st.integers(1, 4)), max_size=12))
def test_claims_above_marks_find_the_same_jobs_in_the_same_order(
    queues: list[str] | None, steps: list[list[int] | int]
) -> None:
    """A step that is a list inserts jobs with these priorities; a number claims so many."""
    Job.objects.all().delete()
    marks, waiting = LowWater(), []
    for step in steps:
        if isinstance(step, list):
            waiting += [make_job(priority=priority, run_at=timezone.now()) for priority in step]
            continue
        waiting.sort(key=lambda each: (-each.priority, each.run_at))
        expected, waiting = waiting[:step], waiting[step:]
        assert claim_jobs(WORKER, limit=step, queues=queues, low_water=marks) == expected


@on_postgresql
@pytest.mark.django_db
@pytest.mark.usefixtures("_all_slow")
@pytest.mark.parametrize("by_age", [False, True])
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["insert", "claim", "hand back", "priority", "restart"]), st.integers(-3, 60)),
        max_size=25,
    )
)
def test_wherever_a_job_appears_below_a_mark_it_is_claimed(by_age: bool, steps: list[tuple[str, int]]) -> None:
    Job.objects.all().delete()
    marks, claimed = LowWater(STARVED_AFTER if by_age else None), []
    for what, number in steps:
        if what == "insert":
            make_job(priority=number % 3, run_at=timezone.now() - number * SECOND)
        elif what == "claim":
            claimed += claim_jobs(WORKER, limit=max(number % 4, 1), by_age=by_age, low_water=marks)
        elif what == "hand back" and claimed:
            claimed.pop(number % len(claimed)).hand_back()
        elif what == "priority":
            Job.objects.filter(status=Status.QUEUED).update(priority=number % 5)
        elif what == "restart" and claimed:
            restarted = claimed.pop(number % len(claimed))
            restarted.finish_cancelled()
            restarted.restart()
            Job.objects.filter(pk=restarted.pk).update(run_at=timezone.now() - abs(number) * SECOND)
    while due_jobs(by_age=by_age).exists():
        assert claim_jobs(WORKER, limit=3, by_age=by_age, low_water=marks)


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("by_age", [False, True])
@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("queues", [["default"], ["default", "nothing"]])
def test_a_claim_above_marks_takes_what_the_plain_one_may_take(queues: list[str], by_age: bool, limit: int) -> None:
    make_job(priority=-5, run_at=NOW - HOUR)
    for fields in ({"queue": "other"}, {"pool": "test.pool"}, {"kind": "test.unknown"}, {"user_id": None}):
        make_job(priority=-5, run_at=NOW - HOUR / 2, **fields)
    marks = marked(job(-5, NOW - HOUR), by_age=by_age)
    mine, claimed = {"queues": queues, "kinds": ["demo.countdown"], "by_age": by_age, "low_water": marks}, []
    while found := claim_jobs(WORKER, limit=limit, **mine):
        claimed += found
    assert [(each.queue, each.pool, each.kind) for each in claimed] == [("default", "", "demo.countdown")] * 2


@on_postgresql
@pytest.mark.django_db
def test_users_are_passed_over_above_marks_too(django_user_model: Any) -> None:
    ada, ben = (django_user_model.objects.create(username=name) for name in ("ada", "ben"))
    jobs = [make_job(user=user, run_at=NOW) for user in (ada, ben, None)]
    claimed = claim_jobs(WORKER, limit=3, without_users=[ada.pk], low_water=marked(job(0, NOW - HOUR)))
    assert claimed == jobs[1:]


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by_age", [False, True])
def test_under_a_held_snapshot_a_claim_above_marks_reads_no_dead_entries(
    by_age: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = psycopg2.connect(**connection.get_connection_params())
    try:
        holder.set_session(isolation_level="REPEATABLE READ")
        holder.cursor().execute("SELECT count(*) FROM jobs_job")
        old = (NOW - HOUR + number * SECOND / 1000 for number in range(8000))
        Job.objects.bulk_create(Job(kind="demo.countdown", timeout=60, run_at=run_at) for run_at in old)
        plain = make_claim(by_age=by_age)
        assert pages_of_plain_look(plain) < claiming.MANY_PAGES
        monkeypatch.setattr(claiming, "SLOW_LOOK", 0.0)
        monkeypatch.setattr(low_water, "ASK_EVERY", 0.0)
        marks = LowWater(STARVED_AFTER if by_age else None)
        while claim_jobs(WORKER, limit=100, by_age=by_age, low_water=marks):
            pass
        make_job(run_at=NOW - HOUR / 2)
        assert pages_of_plain_look(plain) > claiming.MANY_PAGES
        assert marks.marks
        above = replace(plain, marks=marks.marks)
        assert pages_of(*sql_above_marks.above_marks(Job, above, 2, "id", lock=False)) < claiming.MANY_PAGES / 5
    finally:
        holder.close()


@on_postgresql
@pytest.mark.django_db
@pytest.mark.usefixtures("_all_slow")
@pytest.mark.parametrize("limit", [1, 10])
def test_only_one_look_of_a_claim_starts_from_the_beginning(limit: int) -> None:
    below, above = make_job(priority=7, run_at=NOW - HOUR), make_job(run_at=NOW)
    marks = LowWater()
    marks.learn([above], NOW)
    with CaptureQueriesContext(connection) as queries:
        claimed = claim_jobs(WORKER, limit=limit, low_water=marks)
    assert claimed == [below, above][:limit]
    looks = [each["sql"] for each in queries if "'queued'" in each["sql"] and "part.since" not in each["sql"]]
    assert len(looks) == 1


@on_postgresql
@pytest.mark.django_db
def test_at_most_one_slow_claim_a_second_asks_for_its_plan(
    monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace
) -> None:
    monkeypatch.setattr(claiming, "SLOW_CLAIM", -1.0)
    marks = LowWater()
    for pause, asks in ((0.0, 1), (0.5, 0), (0.6, 1)):
        clock.now += pause
        with CaptureQueriesContext(connection) as queries:
            claim_jobs(WORKER, low_water=marks)
        assert [each["sql"].startswith("EXPLAIN") for each in queries].count(True) == asks


@on_postgresql
@pytest.mark.django_db
@pytest.mark.usefixtures("_all_slow")
def test_an_outage_while_marks_are_set_does_not_lose_what_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> datetime:
        raise OperationalError("away")

    waiting = [make_job(run_at=NOW), make_job(run_at=NOW)]
    monkeypatch.setattr(claiming, "database_now", away)
    assert claim_jobs(WORKER, limit=2, low_water=LowWater()) == waiting


def pages_of_plain_look(claim: Claim) -> int:
    return sql.sql_for("default").pages_of_look(Job.objects.all(), claim)


def pages_of(statement: str, values: list[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)
        plan = cursor.fetchone()[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
