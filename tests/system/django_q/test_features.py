"""docs/django-q2.md, line by line: what a django-q2 project brings along, through real clusters on each broker."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.eventually import eventually
from tests.support.brokers import PLACES, make_cluster_stack_on, on_each
from tests.support.cluster_stack import PATIENCE, Cluster, ClusterStack

WORKERS = 2
WITHIN = 3 * PATIENCE
RECYCLE = 3


@dataclass
class Features:
    """A stack with one cluster, and the file in which tasks leave their notes."""

    stack: ClusterStack
    file: Path

    @property
    def cluster(self) -> Cluster:
        return self.stack.clusters[-1]

    def ask(self, call: str) -> Any:
        """What this function of tests/support/misbehaving_kinds/tasks.py prints."""
        return json.loads(self.call(call))

    def call(self, call: str) -> str:
        return self.stack.run_code(f"from tests.support.misbehaving_kinds.tasks import *; {call}")

    def notes(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []


@pytest.fixture(scope="module", params=on_each(PLACES, "features"))
def features(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Features]:
    folder = tmp_path_factory.mktemp(f"features-{request.param}")
    with make_cluster_stack_on(request.param, request, folder, clusters=0) as stack:
        stack.start_cluster(WORKERS, grace=0)
        yield Features(stack, folder / "notes")


def test_results_groups_chains_iters_and_cached_results_are_complete(features: Features) -> None:
    """Also that a process which a task has started obeys terminate()."""
    assert features.ask("run_and_report()") == {
        "alone": 2,
        "cached": 3,
        "group": [0, 1, 2],
        "chain": [4, 5],
        "iter": list(range(30)),
        "child": -signal.SIGTERM,
    }


def test_post_spawn_is_sent_once_a_process(features: Features) -> None:
    spawned = [event["process"] for event in features.cluster.events("spawned")]
    assert len(spawned) == len(set(spawned))
    assert set(features.cluster.children("worker")) <= set(spawned)


def test_a_broken_schedule_stops_no_other_and_cron_schedules_fire(features: Features) -> None:
    assert features.ask("schedule_beside_a_broken_one()") == [6]


def test_django_qs_monitoring_finds_the_cluster(features: Features) -> None:
    def known() -> bool:
        return [pids for _, pids in features.ask("show_clusters()")] == [sorted(features.cluster.workers())]

    eventually(known, WITHIN, "the cluster's status", pause=0.5)
    [[cluster_id, _]] = features.ask("show_clusters()")
    assert features.stack.manage("qinfo", "--ids").strip() == cluster_id
    for command in ("qmonitor", "qmemory"):
        assert "No clusters" not in features.stack.manage(command, "--run-once")


def test_a_worker_whose_task_is_stuck_in_c_code_is_replaced(features: Features) -> None:
    features.call("async_task(f'{HERE}.hash_for_ever', timeout=1)")
    eventually(lambda: features.cluster.events("child_stuck_and_killed"), WITHIN, "the end of the stuck worker")
    eventually(lambda: len(features.cluster.ready_workers()) == WORKERS, WITHIN, "another worker")


def test_a_task_that_is_interrupted_by_a_stop_cleans_up_and_runs_again_at_once(features: Features) -> None:
    """Then, with recycle, its worker is replaced after so many tasks."""
    features.call(f"order_one('clean_up', {str(features.file)!r}, 'long task')")
    eventually(lambda: "long task began" in features.notes(), WITHIN, "its beginning")
    features.cluster.send(signal.SIGTERM)
    features.cluster.wait_until_gone(WITHIN)
    assert features.notes() == ["long task began", "long task cleaned up"]

    features.stack.start_cluster(1, env={"WORKER_RECYCLE": str(RECYCLE)})

    eventually(lambda: "long task ended" in features.notes(), WITHIN, "its second run")
    features.call(f"[async_task(f'{{HERE}}.note', {str(features.file)!r}, 'short task') for _ in range({RECYCLE})]")
    eventually(lambda: features.notes().count("short task") == RECYCLE, WITHIN, "the tasks of two workers")
    eventually(lambda: features.cluster.events("child_recycled", role="worker"), WITHIN, "another worker")


def test_run_once_works_off_what_is_due_and_ends(features: Features) -> None:
    features.cluster.send(signal.SIGTERM)
    features.cluster.wait_until_gone(WITHIN)
    features.call(f"[async_task(f'{{HERE}}.note', {str(features.file)!r}, 'due') for _ in range(5)]")
    once = features.stack.add_cluster(WORKERS, options=["--run-once"])
    once.start()
    once.wait_until_gone(WITHIN)
    assert (once.returncode, features.notes().count("due")) == (0, 5)
