"""`manage.py qcluster` before it starts anything: what it serves, and what it refuses in a sentence."""

import logging
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task, schedule

from jobs.cluster.dispatcher import Dispatcher
from jobs.management.commands import qcluster
from jobs.registry import JobError, job
from tests.support.factories import make_kind
from tests.support.inline_worker import signal_handlers_kept

STARTED: list[list[str]] = []
ONCE: list[bool] = []


class Unstarted:
    """Replaces Supervisor: records the roles of its processes, and starts none."""

    def __init__(self, children: list[Any], grace: float) -> None:
        STARTED.append([child.role for child in children])

    def run(self, *, once: bool) -> None:
        ONCE.append(once)


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    STARTED.clear()
    ONCE.clear()
    monkeypatch.setattr(qcluster, "Supervisor", Unstarted)
    monkeypatch.setattr(Conf, "CLUSTER_NAME", Conf.PREFIX)


def served() -> tuple[str, ...] | None:
    queues: tuple[str, ...] | None = get_broker().queues
    return queues


def test_without_a_name_all_queues_are_served() -> None:
    call_command("qcluster", workers=2, io_workers=1)
    assert served() is None
    assert (STARTED, ONCE) == ([["worker", "worker", "io-worker", "reserve-worker", "dispatcher"]], [False])


@pytest.mark.parametrize(("workers", "io_workers"), [(1, 0), (0, 1)])
def test_a_cluster_may_have_one_sort_of_workers_only(workers: int, io_workers: int) -> None:
    call_command("qcluster", workers=workers, io_workers=io_workers)
    assert [
        ["worker"] * workers + ["io-worker"] * io_workers + ["reserve-worker"] * bool(workers) + ["dispatcher"]
    ] == STARTED


def test_without_options_the_settings_count(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Conf.conf, "workers", 0)  # django-q's copy of settings.Q_CLUSTER
    settings.IO_WORKERS = 2
    call_command("qcluster")
    assert STARTED == [["io-worker", "io-worker", "dispatcher"]]


def test_a_cluster_of_one_queue_has_the_name_of_the_queue_for_django_q_too() -> None:
    call_command("qcluster", queue="mail")
    assert served() == ("mail",)
    assert Conf.CLUSTER_NAME == "mail"


def test_the_variable_q_cluster_name_works_like_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """django-q has read the variable by the time that the command runs."""
    monkeypatch.setattr(Conf, "CLUSTER_NAME", "mail")
    call_command("qcluster")
    assert served() == ("mail",)


def test_the_option_overrides_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "CLUSTER_NAME", "mail")
    call_command("qcluster", queue="default")
    assert served() == ("default",)


@pytest.mark.django_db(transaction=True)
def test_each_cluster_takes_the_schedules_and_tasks_that_are_its_own() -> None:
    for cluster in (None, "mail", "other"):
        schedule("math.sqrt", 4, name=str(cluster), next_run=timezone.now(), cluster=cluster)
    call_command("qcluster", queue="mail")
    with signal_handlers_kept():
        Dispatcher(get_broker()).run_schedules()
    assert {each.name for each in Schedule.objects.all()} == {"None", "other"}
    async_task("math.sqrt", 9, cluster="mail")
    async_task("math.sqrt", 16, cluster="other")
    assert sorted(OrmQ.objects.values_list("key", flat=True)) == ["mail", "mail", "other"]
    assert len(get_broker().dequeue()) == 1


@pytest.mark.parametrize(("workers", "io_workers"), [(0, 0), (-1, 1), (1, -1)])
def test_a_cluster_without_workers_is_refused(workers: int, io_workers: int) -> None:
    sentence = rf"\A--workers is {workers} and --io-workers is {io_workers}: [^\n]+ one of them 1 or more\.\Z"
    with pytest.raises(CommandError, match=sentence):
        call_command("qcluster", workers=workers, io_workers=io_workers)
    assert STARTED == []


@pytest.mark.parametrize("change", [{"broker_class": None}, {"redis": {"host": "here"}}])
def test_settings_that_cannot_work_are_one_sentence_and_no_restart_loop(settings: Any, change: dict[str, Any]) -> None:
    settings.Q_CLUSTER = settings.Q_CLUSTER | change
    with pytest.raises(CommandError, match=r"\AQ_CLUSTER\[[^\n]+\.\Z"):
        call_command("qcluster")
    assert STARTED == []


def test_the_number_of_workers_may_stand_in_q_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Conf.conf, "workers", 3)
    call_command("qcluster", io_workers=0)
    assert STARTED == [["worker"] * 3 + ["reserve-worker", "dispatcher"]]


def test_a_cluster_has_the_settings_that_alt_clusters_has_for_it(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORKERS", "TIMEOUT"):
        monkeypatch.setattr(Conf, name, 1)
    monkeypatch.setattr(Conf, "conf", dict(Conf.conf))
    mail = {"name": "not used", "workers": 2, "timeout": 7, "recycle": 100}
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"ALT_CLUSTERS": {"mail": mail}}
    call_command("qcluster", queue="mail", io_workers=0)
    assert STARTED == [["worker"] * 2 + ["reserve-worker", "dispatcher"]]
    assert (Conf.TIMEOUT, Conf.conf["recycle"], Conf.CLUSTER_NAME) == (7, 100, "mail")


@pytest.mark.parametrize("name", ["my.cluster", "mail-2", "a_b"])
def test_names_that_django_q_accepts_are_accepted(name: str) -> None:
    call_command("qcluster", queue=name)
    assert name == Conf.CLUSTER_NAME


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_runs_once_has_no_dispatcher_and_fires_the_schedules_that_are_due() -> None:
    schedule("math.sqrt", 4)
    call_command("qcluster", run_once=True, workers=1, io_workers=1)
    assert (STARTED, ONCE) == ([["worker", "io-worker"]], [True])
    assert OrmQ.objects.count() == 1


@pytest.mark.parametrize("name", ["", " ", "two words", "mail/", "über", "-mail", "q.fifo", "q" * 51, "mail\n"])
def test_an_invalid_name_of_a_queue_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match=r"\A[^\n]+ is not a valid name of a queue; [^\n]+\.\Z"):
        call_command("qcluster", queue=name)
    assert STARTED == []


@pytest.mark.parametrize("name", ["", "two words", "q" * 51])
def test_no_kind_may_have_a_queue_with_an_invalid_name(name: str) -> None:
    with pytest.raises(JobError, match=r"\AThe queue of test\.named is called "):
        job("test.named", queue=name)(lambda run: None)


@pytest.mark.parametrize(("name", "warned"), [("slow", False), ("mail", False), ("legwork", False), ("mial", True)])
def test_a_queue_that_no_kind_names_is_warned_of(
    name: str, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_kind(monkeypatch, lambda run: None, queue="slow")
    with caplog.at_level(logging.WARNING):
        call_command("qcluster", queue=name)
    assert ("queue_of_no_kind" in caplog.text) is warned
    assert len(STARTED) == 1
