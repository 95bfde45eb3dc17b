"""Where a handler is interrupted: between its own bytecodes, and never in code that must not be torn apart."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection, transaction

from demo.eventually import eventually
from jobs.models import Job
from jobs.worker.attempts import interrupt
from jobs.worker.attempts.connections import CleanConnections
from jobs.worker.attempts.interrupt import Cancelled, Interrupted, Interruptible, MainThread, OtherThread
from tests.jobs.worker.attempts.test_interrupt_other_thread import in_a_thread
from tests.support.factories import make_job
from tests.support.fakes import checking_timeouts

pytest_plugins = ["tests.support.worker_fixtures"]
pytestmark = pytest.mark.usefixtures("contained_signals")

SOON = LONG = 60
DELICATE = [
    *["django.db.backends.utils", "django.db.backends.postgresql.base", "django.db.transaction", "psycopg2.extras"],
    *["logging", "structlog", "routers", "jobs.worker.attempts.buffer", "jobs.brokers.orm", "jobs.models.statements"],
]
CODE = """
def work(entered, may_leave):
    entered.set()
    while not may_leave():
        pass
    left.append(True)
"""


class Delicate:
    """A function whose code seems to be of a module that must not be interrupted; it runs until `may_leave`."""

    def __init__(self, module: str) -> None:
        self.entered, self.may_leave, self.left = threading.Event(), False, list[bool]()
        source = interrupt._source(module)
        names = {"left": self.left}
        exec(compile(CODE, source + "fake.py" if Path(source).is_dir() else source, "exec"), names)  # noqa: S102
        self._work: Callable[..., None] = names["work"]  # type: ignore[assignment]

    def __call__(self) -> None:
        self._work(self.entered, lambda: self.may_leave)


@pytest.mark.parametrize("module", DELICATE)
@pytest.mark.parametrize("sort", [MainThread, OtherThread])
def test_an_interruption_waits_for_the_end_of_delicate_code_that_the_handler_calls(
    module: str, sort: type[Interruptible]
) -> None:
    delicate, thread, reason = Delicate(module), sort(), Cancelled("now")
    tries: list[float] = []

    def handler() -> None:
        delicate()
        while True:
            time.sleep(0.005)

    def interrupt_meanwhile() -> None:
        try:
            assert delicate.entered.wait(SOON)
            thread.interrupt(reason)
            for _ in range(3):  # each further try has to wait as well
                tries.append(thread._interrupt_at)
                eventually(lambda: thread._interrupt_at != tries[-1] or delicate.left, SOON)
        finally:
            delicate.may_leave = True

    interrupter = threading.Thread(target=interrupt_meanwhile)
    interrupter.start()
    with checking_timeouts(thread):
        ended = outcome_of(thread, handler)
    interrupter.join()
    assert (ended, delicate.left) == ([reason], [True])


def test_a_handler_that_ends_before_it_could_be_interrupted_keeps_its_result() -> None:
    delicate, main = Delicate("django.db.backends.utils"), MainThread()

    def interrupt_meanwhile() -> None:
        try:
            assert delicate.entered.wait(SOON)
            main.interrupt(Cancelled("too late"))
        finally:
            delicate.may_leave = True

    def handler() -> str:
        delicate()
        return "done"

    interrupter = threading.Thread(target=interrupt_meanwhile)
    interrupter.start()
    assert main.call(handler, LONG) == "done"
    interrupter.join()


@pytest.mark.parametrize("sort", [MainThread, OtherThread])
def test_a_wait_that_the_handler_itself_called_is_interrupted(sort: type[Interruptible]) -> None:
    """A lock of the standard library, in which threads, queues and futures wait as well."""
    thread, reason, waiting = sort(), Cancelled("now"), threading.Event()

    def handler() -> None:
        waiting.set()
        while True:
            threading.Event().wait(0.01)

    interrupter = threading.Thread(target=lambda: waiting.wait(SOON) and thread.interrupt(reason))
    interrupter.start()
    with checking_timeouts(thread):
        assert outcome_of(thread, handler) == [reason]
    interrupter.join()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite in memory cannot be closed.")
@pytest.mark.django_db(transaction=True)
# Python only reports an interruption that is raised in a finalizer; it is tried again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("sort", [MainThread, OtherThread])
def test_a_connection_can_be_used_after_any_interruption_of_what_used_it(sort: type[Interruptible]) -> None:
    """Whether it came between two statements, during one of them, or inside a transaction."""
    job, interrupted = make_job(), 0

    def handler() -> None:
        while True:
            with transaction.atomic():
                Job.objects.filter(pk=job.pk).update(priority=1)
                with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                    Job.objects.filter(pk=job.pk).update(priority=2)
                    raise ZeroDivisionError

    def attempts() -> None:
        nonlocal interrupted
        for number in range(40):
            thread = sort()
            due = threading.Timer(0.001 + number / 4000, thread.interrupt, [Cancelled("now")])
            due.start()
            with checking_timeouts(thread), CleanConnections() as databases, pytest.raises(Interrupted):
                thread.call(handler, 0.1, databases)
            due.join()
            assert not connection.in_atomic_block
            Job.objects.filter(pk=job.pk, priority__lt=2).update(priority=0)
            interrupted += 1
        connection.close()

    if sort is MainThread:
        attempts()
    else:
        with in_a_thread(attempts) as ended:
            eventually(lambda: ended, SOON)
        assert ended == [None]
    assert interrupted == 40


def outcome_of(thread: Interruptible, handler: Callable[[], object]) -> list[object]:
    """The result or the exception of a call in a thread of the right sort."""
    if isinstance(thread, OtherThread):
        with in_a_thread(lambda: thread.call(handler, LONG)) as ended:
            eventually(lambda: ended, SOON)
        return ended
    try:
        return [thread.call(handler, LONG)]
    except BaseException as error:
        return [error]
