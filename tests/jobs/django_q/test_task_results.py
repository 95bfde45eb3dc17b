"""Results of plain django-q tasks: whole groups, though several workers save at once, and no more than save_limit."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import caches
from django.utils import timezone
from django_q.brokers import Broker, get_broker
from django_q.conf import Conf
from django_q.models import OrmQ, Success, Task
from django_q.tasks import async_chain, async_iter, async_task, count_group, fetch, result, result_group

from jobs.django_q.task_results import prune
from jobs.worker.django_q_tasks import DjangoQTasks
from tests.support.factories import disconnected
from tests.support.servers.redis import Redis

MANY = 30
WORKERS = 6

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["database", "redis"])
def broker(request: pytest.FixtureRequest, settings: Any) -> Broker:
    """The ORM broker, with either cache that processes share."""
    if request.param == "redis":
        server: Redis = request.getfixturevalue("redis_server")
        location = server.url(3)
        settings.CACHES = settings.CACHES | {
            "shared": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}
        }
    caches["shared"].clear()
    return get_broker()


def test_an_iter_is_complete_though_its_tasks_end_at_the_same_time(broker: Broker) -> None:
    iter_id = async_iter("math.sqrt", [number**2 for number in range(MANY)])
    run_all_at_once()
    assert sorted(result(iter_id)) == list(range(MANY))
    assert fetch(iter_id).args == [number**2 for number in range(MANY)]
    assert not OrmQ.objects.exists()


def test_a_cached_iter_leaves_one_result_in_the_cache_and_none_in_the_table(broker: Broker) -> None:
    iter_id = async_iter("math.sqrt", [4, 9], cached=60)
    run_all_at_once()
    assert sorted(result(iter_id, cached=True)) == [2, 3]
    assert not Task.objects.exists()


def test_a_cached_group_is_complete_though_its_tasks_end_at_the_same_time(broker: Broker) -> None:
    for number in range(MANY):
        async_task("math.sqrt", number**2, group="roots", cached=60)
    run_all_at_once()
    assert count_group("roots", cached=True) == MANY
    assert sorted(result_group("roots", cached=True)) == list(range(MANY))


def test_a_cached_task_that_keeps_failing_is_given_up(broker: Broker) -> None:
    task_id = async_task("math.sqrt", -1, group="roots", cached=60)
    for _ in range(Conf.MAX_ATTEMPTS):
        run_all_at_once(workers=1)
        OrmQ.objects.update(lock=timezone.now() - timedelta(seconds=1))
    assert "ValueError" in result(task_id, cached=True)
    assert count_group("roots", failures=True, cached=True) == 1
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("options", [{}, {"cached": 60}])
def test_a_chain_runs_to_its_end_and_each_of_its_tasks_once(broker: Broker, options: dict[str, int]) -> None:
    chain = async_chain([("math.sqrt", (4,)), ("math.sqrt", (-1,)), ("math.sqrt", (9,))], **options)
    for _ in range(2 * Conf.MAX_ATTEMPTS):
        run_all_at_once(workers=1)
        OrmQ.objects.update(lock=timezone.now() - timedelta(seconds=1))
    assert sorted(result_group(chain, cached=bool(options))) == [2, 3]
    assert count_group(chain, failures=True, cached=bool(options)) == 1


@pytest.mark.parametrize("broker", ["database"], indirect=True)
def test_the_oldest_successes_beyond_save_limit_are_deleted_and_no_failures(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "SAVE_LIMIT", 2)
    for number in range(5):
        make_result(f"success {number}", number=number)
        make_result(f"failure {number}", success=False, number=number)
    assert prune() == 3
    assert sorted(Success.objects.values_list("name", flat=True)) == ["success 3", "success 4"]
    assert Task.objects.filter(success=False).count() == 5


@pytest.mark.parametrize("broker", ["database"], indirect=True)
@pytest.mark.parametrize("per", ["func", "group", "name"])
def test_save_limit_may_be_of_each_function_group_or_name(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, per: str
) -> None:
    monkeypatch.setattr(Conf, "SAVE_LIMIT", 2)
    monkeypatch.setattr(Conf, "SAVE_LIMIT_PER", per)
    for number in range(3):
        make_result(**{"name": "x", per: "one"}, number=number)
        make_result(**{"name": "x", per: "other"}, number=number)
    prune()
    assert Success.objects.filter(**{per: "one"}).count() == Success.objects.filter(**{per: "other"}).count() == 2


@pytest.mark.parametrize("broker", ["database"], indirect=True)
@pytest.mark.parametrize("limit", [0, -1])
def test_without_a_save_limit_nothing_is_deleted(broker: Broker, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Conf, "SAVE_LIMIT", limit)
    make_result()
    assert prune() == 0
    assert Success.objects.exists()


def run_all_at_once(workers: int = WORKERS) -> None:
    """Run what is queued in so many threads, each with its own broker and connections, as worker processes have."""

    def work() -> None:
        with disconnected():
            tasks = DjangoQTasks(get_broker())
            tasks.thread = AnyThread()  # type: ignore[assignment]
            while tasks.run_next():
                pass

    with ThreadPoolExecutor(workers) as pool:
        for worker in [pool.submit(work) for _ in range(workers)]:
            worker.result()


class AnyThread:
    """Replaces MainThread: only the main thread receives signals."""

    def call(self, function: Callable[[], Any], *limits: Any) -> Any:
        return function()


def make_result(name: str = "x", success: bool = True, number: int = 0, **fields: Any) -> Task:
    ended = timezone.now() + timedelta(seconds=number)
    fields = {"func": "math.sqrt", "started": ended, "stopped": ended, **fields}
    return Task.objects.create(id=uuid4().hex, name=name, success=success, **fields)
