"""Plain django-q tasks beside jobs: run, recorded and acknowledged as django-q does it."""

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.brokers import Broker, get_broker
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from jobs import plain
from jobs.worker.interrupt import MainThread, TimedOut
from tests.patience import PATIENCE

# django-q closes the connection, which a test's own transaction would not survive.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _alarm_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def broker() -> Broker:
    return get_broker()


def test_a_task_is_run_recorded_and_taken_from_the_queue(broker: Broker) -> None:
    task_id = async_task("math.factorial", 5)
    run_next(broker)
    task = Task.objects.get(pk=task_id)
    assert (task.success, task.result, task.func) == (True, 120, "math.factorial")
    assert not OrmQ.objects.exists()


def test_tasks_that_are_functions_run_too(broker: Broker) -> None:
    task_id = async_task(len, "four", hook=note_end)
    run_next(broker)
    assert Task.objects.get(pk=task_id).result == 4


@pytest.mark.parametrize(
    ("function", "message"), [("math.sqrt", "ValueError"), ("math.no_such_function", "is not defined")]
)
def test_a_task_that_fails_is_recorded_and_stays_to_be_tried_again(broker: Broker, function: str, message: str) -> None:
    task_id = async_task(function, -1)
    run_next(broker)
    task = Task.objects.get(pk=task_id)
    assert not task.success
    assert message in task.result
    assert OrmQ.objects.get().lock > timezone.now() + timedelta(minutes=30)


def test_a_task_that_keeps_failing_is_given_up(broker: Broker) -> None:
    task_id = async_task("math.sqrt", -1)
    for _ in range(3):
        run_next(broker)
        OrmQ.objects.update(lock=timezone.now() - timedelta(seconds=1))
    assert Task.objects.get(pk=task_id).attempt_count == 3
    assert not OrmQ.objects.exists()


def test_a_task_that_takes_too_long_is_stopped_and_recorded(broker: Broker) -> None:
    began = time.monotonic()
    task_id = async_task("time.sleep", 2 * PATIENCE, timeout=1)
    run_next(broker)
    assert time.monotonic() - began < PATIENCE
    assert "maximum timeout value" in Task.objects.get(pk=task_id).result


def test_jobs_are_interrupted_as_ever_after_a_plain_task(broker: Broker) -> None:
    """django-q leaves SIGALRM at its default, which ends the process."""
    async_task("math.factorial", 5)
    run_next(broker)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    with pytest.raises(TimedOut):
        MainThread().call(lambda: time.sleep(PATIENCE), 0.02)


@pytest.mark.parametrize("package", ["forged", "", "a:b:c", "a.b"])
def test_a_forged_package_is_dropped_and_not_run(broker: Broker, package: str) -> None:
    broker.enqueue(package)
    run_next(broker)
    assert_dropped()


def test_a_package_signed_for_another_key_is_dropped(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("django_q.conf.Conf.SECRET_KEY", "another key")
        async_task("math.factorial", 5)
    run_next(broker)
    assert_dropped()


class FromTheLastRelease:
    """Pickled before a deployment, and gone after it."""


def test_a_package_of_a_class_that_is_no_more_is_dropped_and_ends_no_worker(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.enqueue(SignedPackage.dumps({"id": "1", "name": "x", "func": "builtins.len", "args": (FromTheLastRelease,)}))
    monkeypatch.delattr("tests.test_plain.FromTheLastRelease")
    run_next(broker)
    assert_dropped()


def run_next(broker: Broker) -> None:
    [(receipt, package)] = broker.dequeue()
    plain.run(broker, receipt, package)


def assert_dropped() -> None:
    assert not OrmQ.objects.exists()
    assert not Task.objects.exists()


def note_end(task: Any) -> None:
    """A hook; django-q finds it by its name."""
