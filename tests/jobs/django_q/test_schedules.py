"""django-q's schedules: each fires when it is due, once, and whatever is wrong with another."""

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.brokers import Broker, get_broker
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage
from django_q.tasks import schedule

from jobs.brokers import outbox
from jobs.brokers.redis import Redis as RedisBroker
from jobs.django_q import schedules as schedules_module
from jobs.django_q.schedules import Schedules

pytest_plugins = ["tests.support.broker_fixtures"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> Broker:
    return get_broker()


@pytest.fixture
def schedules(broker: Broker) -> Schedules:
    return Schedules(broker)


def test_a_schedule_that_is_due_becomes_a_task_with_its_arguments_and_options(schedules: Schedules) -> None:
    schedule("math.pow", 2, 3, name="power", hook="math.sqrt", q_options={"timeout": 7}, intended_date_kwarg="at")
    due_at = Schedule.objects.get().next_run
    assert schedules.fire_due() == 1
    [task] = queued()
    assert (task["func"], task["args"], task["kwargs"]) == ("math.pow", (2, 3), {"at": due_at.isoformat()})
    assert (task["group"], task["hook"], task["timeout"]) == ("power", "math.sqrt", 7)
    assert not Schedule.objects.exists()


@pytest.mark.parametrize("kwargs", ["x=1, y='two'", "{'x': 1, 'y': 'two'}"])
def test_keywords_may_be_written_as_in_a_call_or_as_a_dict(schedules: Schedules, kwargs: str) -> None:
    make_schedule(kwargs=kwargs)
    schedules.fire_due()
    assert [task["kwargs"] for task in queued()] == [{"x": 1, "y": "two"}]


def test_a_schedule_that_is_not_due_or_has_no_repeats_left_does_not_fire(schedules: Schedules) -> None:
    make_schedule(next_run=timezone.now() + timedelta(minutes=1))
    make_schedule(repeats=0)
    make_schedule(cluster="another")
    assert schedules.fire_due() == 0


def test_a_schedule_fires_as_often_as_it_repeats(schedules: Schedules) -> None:
    row = make_schedule(schedule_type=Schedule.MINUTES, minutes=1, repeats=2)
    for _ in range(3):
        Schedule.objects.update(next_run=timezone.now() - timedelta(seconds=1))
        schedules.fire_due()
    assert len(queued()) == 2
    row.refresh_from_db()
    assert row.repeats == 0


def test_a_one_time_schedule_with_repeats_is_kept(schedules: Schedules) -> None:
    make_schedule(repeats=1)
    assert (schedules.fire_due(), schedules.fire_due()) == (1, 0)
    assert Schedule.objects.get().repeats == 0


@pytest.mark.parametrize(("catch_up", "fired"), [(True, 4), (False, 1)])
def test_missed_runs_are_caught_up_with_unless_catch_up_is_off(
    schedules: Schedules, monkeypatch: pytest.MonkeyPatch, catch_up: bool, fired: int
) -> None:
    monkeypatch.setattr(Conf, "CATCH_UP", catch_up)
    make_schedule(schedule_type=Schedule.HOURLY, next_run=timezone.now() - timedelta(hours=3, minutes=5))
    assert sum(schedules.fire_due() for _ in range(10)) == fired
    assert Schedule.objects.get().next_run > timezone.now()


def test_a_cron_schedule_fires(schedules: Schedules) -> None:
    row = schedule("math.sqrt", 4, schedule_type=Schedule.CRON, cron="*/5 * * * *")
    Schedule.objects.update(next_run=timezone.now() - timedelta(seconds=1))
    assert schedules.fire_due() == 1
    row.refresh_from_db()
    assert timezone.now() < row.next_run <= timezone.now() + timedelta(minutes=5)


@pytest.mark.parametrize(
    "broken",
    [
        {"schedule_type": Schedule.CRON, "cron": "every full moon"},
        {"args": "no python"},
        {"kwargs": "no python"},
        {"kwargs": "{'q_options': 5}"},
    ],
)
def test_a_broken_schedule_stops_no_other_and_is_logged_once(
    schedules: Schedules, caplog: pytest.LogCaptureFixture, broken: dict[str, str]
) -> None:
    Schedule.objects.bulk_create([Schedule(func="math.sqrt", next_run=earlier(2), **broken)])
    make_schedule(args="9")
    assert (schedules.fire_due(), schedules.fire_due()) == (1, 0)
    assert [task["args"] for task in queued()] == [(9,)]
    assert caplog.text.count("'event': 'schedule_failed'") == 1
    assert schedules.next_run() is None


def test_a_broken_schedule_that_was_mended_fires(schedules: Schedules, monkeypatch: pytest.MonkeyPatch) -> None:
    row = make_schedule(args="no python")
    assert schedules.fire_due() == 0
    Schedule.objects.filter(pk=row.pk).update(args="9")
    monkeypatch.setattr(schedules_module.time, "monotonic", lambda: math.inf)
    assert schedules.fire_due() == 1


def test_two_clusters_fire_a_schedule_once(broker: Broker) -> None:
    row = make_schedule(schedule_type=Schedule.HOURLY)
    assert schedules_module.fire(row.pk, broker)
    assert not schedules_module.fire(row.pk, broker)


def test_a_schedule_goes_to_the_queue_of_its_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "CLUSTER_NAME", "mail")
    make_schedule(cluster="mail")
    make_schedule()
    assert Schedules(get_broker()).fire_due() == 1
    assert OrmQ.objects.get().key == "mail"


def test_nothing_fires_when_the_scheduler_is_off(schedules: Schedules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "SCHEDULER", False)
    make_schedule()
    assert schedules.fire_due() == 0
    assert schedules.next_run() is None


def test_the_next_schedule_is_known(schedules: Schedules) -> None:
    assert schedules.next_run() is None
    soon = timezone.now() + timedelta(seconds=5)
    make_schedule(next_run=soon + timedelta(seconds=5))
    make_schedule(next_run=soon)
    assert schedules.next_run() == soon


@pytest.fixture
def on_redis(redis_jobs: RedisBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisBroker]:
    monkeypatch.setattr(Conf, "BROKER_CLASS", "jobs.brokers.redis.Redis")
    return redis_jobs


def test_on_another_broker_the_task_is_handed_over_when_the_schedule_is_committed(on_redis: RedisBroker) -> None:
    make_schedule(args="9")
    assert Schedules(on_redis).fire_due() == 1
    [(_, package)] = on_redis.dequeue()
    assert SignedPackage.loads(package)["args"] == (9,)
    assert not OrmQ.objects.exists()


def test_no_broker_is_called_inside_the_transaction(on_redis: RedisBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[bool] = []
    enqueue = RedisBroker.enqueue

    def watched(self: RedisBroker, task: str) -> int:
        inside.append(connection.in_atomic_block)
        return enqueue(self, task)

    monkeypatch.setattr(RedisBroker, "enqueue", watched)
    make_schedule()
    Schedules(on_redis).fire_due()
    assert inside == [False]


def test_a_task_waits_in_the_outbox_while_the_broker_is_away(
    on_redis: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setattr(RedisBroker, "enqueue", refuse)
        make_schedule()
        make_schedule()
        assert Schedules(on_redis).fire_due() == 2
    assert OrmQ.objects.count() == 2
    assert outbox.forward() == 2
    assert on_redis.queue_size() == 2


def test_a_task_that_another_cluster_is_forwarding_is_left_to_it(on_redis: RedisBroker) -> None:
    OrmQ.objects.create(key="outbox:legwork", payload="a package", lock=timezone.now() + outbox.LEASE)
    assert outbox.forward() == 0
    assert on_redis.queue_size() == 0


def refuse(*about: Any) -> int:
    raise ConnectionError("Redis is away")


def make_schedule(**fields: Any) -> Schedule:
    row: Schedule = Schedule.objects.create(**{"func": "math.sqrt", "next_run": earlier(1), **fields})
    return row


def earlier(seconds: int) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def queued() -> list[dict[str, Any]]:
    return [SignedPackage.loads(row.payload) for row in OrmQ.objects.order_by("pk")]


@pytest.mark.parametrize(
    ("function", "hook", "allowed"),
    [
        ("os.system", None, False),
        ("math.sqrt", None, True),
        ("math.pow", None, False),
        ("statistics.mean", None, True),
        ("statistics_of.others", None, False),
        ("project.login.access.end_access_of_inactive_users", None, True),
        ("math.sqrt", "os.system", False),
    ],
)
def test_a_schedule_calls_allowed_functions_only(
    schedules: Schedules, settings: Any, function: str, hook: str | None, allowed: bool
) -> None:
    settings.Q_FUNCTIONS = ["math.sqrt", "statistics.*"]
    schedule(function, name="one", hook=hook)
    assert schedules.fire_due() == allowed
    assert OrmQ.objects.count() == allowed


def test_the_admin_shows_schedules_and_changes_none(settings: Any) -> None:
    row = schedule("math.sqrt", 4)
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    assert browser.get("/admin/django_q/schedule/").status_code == 200
    assert browser.get("/admin/django_q/schedule/add/").status_code == 403
    assert browser.post(f"/admin/django_q/schedule/{row.pk}/change/", {"func": "os.system"}).status_code == 403
    assert browser.post(f"/admin/django_q/schedule/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Schedule.objects.get().func == "math.sqrt"
