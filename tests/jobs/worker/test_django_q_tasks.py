"""Plain django-q tasks beside jobs: run, recorded and acknowledged as django-q does it."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.dispatch import Signal
from django.utils import timezone
from django_q import signals
from django_q.brokers import Broker, get_broker
from django_q.conf import Conf
from django_q.exceptions import TimeoutException
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from jobs.worker import django_q_tasks
from jobs.worker.attempts.interrupt import MainThread, TimedOut
from jobs.worker.attempts.running_attempts import RunningAttempts
from jobs.worker.django_q_tasks import DjangoQTasks
from jobs.worker.watchdog import STUCK_AFTER, Watchdog
from tests.support.timeouts import PATIENCE

# django-q closes the connection, which a test's own transaction would not survive.
pytestmark = pytest.mark.django_db(transaction=True)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this error cannot say what it is")


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
        make_due()
    assert Task.objects.get(pk=task_id).attempt_count == 3
    assert not OrmQ.objects.exists()


def test_a_task_that_takes_too_long_is_stopped_and_recorded(broker: Broker) -> None:
    began = time.monotonic()
    task_id = async_task("time.sleep", 2 * PATIENCE, timeout=1)
    run_next(broker)
    assert time.monotonic() - began < PATIENCE
    assert "maximum timeout value" in Task.objects.get(pk=task_id).result


def test_a_task_may_catch_django_qs_timeout_exception_to_clean_up(broker: Broker) -> None:
    task_id = async_task(sleep_and_clean_up, timeout=1)
    run_next(broker)
    assert Task.objects.get(pk=task_id).result == "cleaned up"


def test_jobs_are_interrupted_as_usual_after_a_plain_task(broker: Broker) -> None:
    async_task("math.factorial", 5, timeout=60)
    run_next(broker)
    main = MainThread()
    with checking_timeouts(main), pytest.raises(TimedOut):
        main.call(lambda: time.sleep(PATIENCE), 0.02)


@pytest.mark.parametrize("options", [{}, {"timeout": 20}])
def test_the_supervisor_is_told_the_deadline_of_a_task(broker: Broker, options: dict[str, int]) -> None:
    watchdog = Watchdog()
    watched_by.append(watchdog)
    task_id = async_task(look_at_the_watchdog, **options)
    before = time.monotonic()
    run_next(DjangoQTasks(broker, RunningAttempts(watchdog)))
    [(watched_id, deadline)] = Task.objects.get(pk=task_id).result
    assert watched_id == task_id
    assert 0 <= deadline - before - (options.get("timeout") or Conf.TIMEOUT) - STUCK_AFTER < PATIENCE
    assert watchdog.started() == []


def test_a_task_that_is_interrupted_because_its_worker_stops_is_due_again_at_once(broker: Broker) -> None:
    tasks = DjangoQTasks(broker)
    stopped_in.append(tasks.thread)
    async_task(stop_the_worker, timeout=PATIENCE)
    run_next(tasks)
    assert cleaned_up == [tasks.thread]
    assert OrmQ.objects.get().lock <= timezone.now()
    assert not Task.objects.exists()


def test_of_many_tasks_taken_at_once_those_that_have_not_begun_are_handed_back(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "BULK", 3)
    for number in range(3):
        async_task("math.factorial", number)
    assert DjangoQTasks(broker).run_next(stopping=Task.objects.exists)
    assert Task.objects.count() == 1
    assert [row.lock <= timezone.now() for row in OrmQ.objects.all()] == [True, True]


def test_short_tasks_are_run_one_after_the_other_until_it_is_the_turn_of_jobs(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        async_task("math.factorial", number)
    tasks = DjangoQTasks(broker)
    monkeypatch.setattr(django_q_tasks, "TIME_SLICE", 0)
    assert tasks.run_some(bool)
    assert tasks.count == 1
    monkeypatch.setattr(django_q_tasks, "TIME_SLICE", PATIENCE)
    assert tasks.run_some(bool)
    assert tasks.count == 4
    assert not tasks.run_some(bool)


def test_each_task_is_one_line_of_log(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    async_task("math.factorial", 5, task_name="five")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run_next(broker)
    [record] = caplog.records
    assert record.levelname == "INFO"
    assert {"event": "django_q_task_succeeded", "task": "five", "func": "math.factorial"}.items() <= record.msg.items()


def test_a_task_that_fails_is_one_line_of_log_at_level_error(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    async_task("math.sqrt", -1, task_name="minus")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run_next(broker)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert {"event": "django_q_task_failed", "task": "minus", "func": "math.sqrt"}.items() <= record.msg.items()


def test_a_result_that_cannot_be_pickled_is_recorded_as_a_failure_and_not_tried_again(broker: Broker) -> None:
    task_id = async_task("threading.Lock")
    run_next(broker)
    task = Task.objects.get(pk=task_id)
    assert (task.success, OrmQ.objects.count()) == (False, 0)
    assert "The result cannot be stored: TypeError" in task.result


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, Mute])
def test_whatever_a_task_raises_is_recorded_and_ends_no_worker(broker: Broker, end: type[BaseException]) -> None:
    task_id = async_task(raise_it, end)
    run_next(broker)
    assert end.__name__ in Task.objects.get(pk=task_id).result


def test_signals_are_sent_in_the_order_in_which_django_q_sends_them(broker: Broker) -> None:
    sent: list[str] = []
    names = ("pre_execute", "post_execute_in_worker", "post_execute")
    receivers = [(getattr(signals, name), lambda name=name, **others: sent.append(name)) for name in names]
    async_task("math.factorial", 5)
    with connected(receivers):
        run_next(broker)
    assert sent == list(names)


def test_a_receiver_that_fails_before_a_task_fails_the_task(broker: Broker) -> None:
    def refuse(**others: Any) -> None:
        raise ValueError("not today")

    task_id = async_task("math.factorial", 5)
    with connected([(signals.pre_execute, refuse)]):
        run_next(broker)
    assert "not today" in Task.objects.get(pk=task_id).result


def test_ack_failure_takes_a_task_that_fails_from_the_queue(broker: Broker) -> None:
    async_task("math.sqrt", -1, ack_failure=True)
    run_next(broker)
    assert not OrmQ.objects.exists()


def test_a_success_is_not_recorded_when_save_is_false(broker: Broker) -> None:
    async_task("math.factorial", 5, save=False)
    run_next(broker)
    assert not Task.objects.exists()
    assert not OrmQ.objects.exists()


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


class FromAnotherRelease:
    """A class that only another release has: its pickles cannot be loaded where it is missing."""


def test_a_task_that_this_release_cannot_load_stays_queued_and_runs_in_one_that_can(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = async_task("builtins.len", [FromAnotherRelease])
    with monkeypatch.context() as older:
        older.delattr("tests.jobs.worker.test_django_q_tasks.FromAnotherRelease")
        run_next(broker)
    assert "django_q_task_unreadable" in caplog.text
    assert "FromAnotherRelease" in Task.objects.get(pk=task_id).result
    make_due()
    run_next(broker)
    task = Task.objects.get(pk=task_id)
    assert (task.success, task.result, task.attempt_count) == (True, 1, 2)
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("argument", ["a text", FromAnotherRelease])
def test_a_task_whose_function_is_missing_is_recorded_as_failed_after_the_last_attempt(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, argument: Any
) -> None:
    task_id = async_task(FromAnotherRelease, argument, task_name="of another release")
    monkeypatch.delattr("tests.jobs.worker.test_django_q_tasks.FromAnotherRelease")
    for _ in range(Conf.MAX_ATTEMPTS):
        assert OrmQ.objects.exists()
        run_next(broker)
        make_due()
    task = Task.objects.get(pk=task_id)
    assert (task.success, task.attempt_count, task.name) == (False, Conf.MAX_ATTEMPTS, "of another release")
    assert task.func == "tests.jobs.worker.test_django_q_tasks.FromAnotherRelease"
    assert task.args == (("a text",) if argument == "a text" else ())
    assert not OrmQ.objects.exists()


def test_a_package_that_nobody_can_read_is_recorded_as_failed_after_the_last_attempt(broker: Broker) -> None:
    broker.enqueue(SignedPackage.dumps(Unloadable()))
    for _ in range(Conf.MAX_ATTEMPTS):
        run_next(broker)
        make_due()
    task = Task.objects.get()
    assert (task.func, task.attempt_count, OrmQ.objects.count()) == ("unreadable", Conf.MAX_ATTEMPTS, 0)


class Unloadable:
    """Its pickle raises an error when it is loaded."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


watched_by: list[Watchdog] = []
stopped_in: list[MainThread] = []
cleaned_up: list[MainThread] = []


def look_at_the_watchdog() -> list[tuple[str, float]]:
    return [(started.job_id.hex, started.deadline) for started in watched_by.pop().started()]


def stop_the_worker() -> None:
    """A task during which its worker is told to stop at once."""
    [main] = stopped_in
    try:
        main.stop()
        time.sleep(PATIENCE)
    finally:
        cleaned_up.append(main)


def sleep_and_clean_up() -> str:
    try:
        time.sleep(PATIENCE)
    except TimeoutException:
        return "cleaned up"
    return "slept"


def raise_it(error: type[BaseException]) -> None:
    raise error


@contextmanager
def connected(receivers: list[tuple[Signal, Callable[..., None]]]) -> Iterator[None]:
    for signal_, receiver in receivers:
        signal_.connect(receiver)
    try:
        yield
    finally:
        for signal_, receiver in receivers:
            signal_.disconnect(receiver)


def run_next(tasks: DjangoQTasks | Broker) -> None:
    """Run the next task of a broker, and check its timeout."""
    if isinstance(tasks, Broker):
        tasks = DjangoQTasks(tasks)
    with checking_timeouts(tasks.thread):
        assert tasks.run_next()


@contextmanager
def checking_timeouts(thread: MainThread) -> Iterator[None]:
    """Check the timeout again and again, as a worker's timekeeper does."""
    over = threading.Event()

    def interrupt_if_due() -> None:
        while not over.wait(0.02):
            thread.interrupt_if_due()

    timekeeper = threading.Thread(target=interrupt_if_due)
    timekeeper.start()
    try:
        yield
    finally:
        over.set()
        timekeeper.join()


def make_due() -> None:
    """As if `retry` seconds had passed."""
    OrmQ.objects.update(lock=timezone.now() - timedelta(seconds=1))


def assert_dropped() -> None:
    assert not OrmQ.objects.exists()
    assert not Task.objects.exists()


def note_end(task: Any) -> None:
    """A hook; django-q finds it by its name."""
