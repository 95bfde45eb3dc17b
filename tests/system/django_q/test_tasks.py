"""Plain django-q tasks and schedules through real clusters on each broker: run once, recorded, never lost."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.eventually import eventually
from tests.support.brokers import PLACES, make_cluster_stack_on, on_each
from tests.support.cluster_stack import PATIENCE, ClusterStack, kill
from tests.support.misbehaving_kinds.tasks import MANY

WORKERS = 2
RETRY = 20
"""Seconds after which a task that failed or was lost is tried again; an hour outside of tests."""
ATTEMPTS = 2
SETTINGS = {"PLAIN_RETRY": str(RETRY), "PLAIN_ATTEMPTS": str(ATTEMPTS)}
WITHIN = 2 * PATIENCE
BUSY, CHAINS = 10 * PATIENCE, 20
"""Seconds for which all workers have jobs to do, and jobs that each order another before they end."""
ONCE = Counter(["task", "schedule", *(f"task {number}" for number in range(MANY))])
LONG = "long task"
MINUTELY = "schedule of every minute"


@dataclass
class Plain:
    """A stack, the file in which its tasks leave their notes, and when they were ordered."""

    stack: ClusterStack
    file: Path
    since: float = field(default_factory=time.monotonic)

    def order(self, call: str) -> None:
        self.stack.run_code(f"from tests.support.misbehaving_kinds.tasks import *; {call}")

    def notes(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []

    def recorded(self) -> dict[str, Any]:
        code = "from tests.support.misbehaving_kinds.tasks import show; show()"
        found: dict[str, Any] = json.loads(self.stack.run_code(code))
        return found


@pytest.fixture(scope="module", params=on_each(PLACES, "plain"))
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """Tasks are queued before the cluster starts. Then the worker that has begun the long task is killed."""
    folder = tmp_path_factory.mktemp(f"plain-{request.param}")
    with make_cluster_stack_on(request.param, request, folder, clusters=0, env=SETTINGS) as stack:
        plain = Plain(stack, folder / "notes")
        plain.order(f"order({str(plain.file)!r}); order_one('dawdle_once', {str(plain.file)!r}, {LONG!r})")
        stack.start_cluster(WORKERS)
        kill(eventually(lambda: runners(plain), WITHIN, "the first run of the long task")[0])
        yield plain


def test_each_task_is_run_once_and_recorded_and_its_hook_is_called(plain: Plain) -> None:
    """Except that the failing task is run as often as allowed, and the one for every minute once a minute."""
    expected = ONCE + Counter(["hook of task: True", "hook of schedule: True"])
    expected += Counter({"bad task": ATTEMPTS, "hook of bad task: False": ATTEMPTS})

    eventually(lambda: expected <= Counter(plain.notes()), WITHIN, "the end of all tasks")

    recorded = eventually(lambda: nothing_left(plain), WITHIN, "the acknowledgement of all tasks")
    notes = Counter(note for note in plain.notes() if not note.startswith(LONG))
    assert 1 <= notes.pop(MINUTELY) <= 1 + (time.monotonic() - plain.since) / 60
    assert notes == expected
    successes = [success for success in recorded["successes"] if success[0] not in (LONG, MINUTELY)]
    assert sorted(successes) == sorted([line, line, 1] for line in ONCE)
    assert [MINUTELY, MINUTELY, 1] in recorded["successes"]
    [[line, error, attempts]] = recorded["failures"]
    assert (line, attempts) == ("bad task", ATTEMPTS)
    assert "ValueError: bad task is refused" in error


def test_a_task_whose_worker_is_killed_runs_again(plain: Plain) -> None:
    eventually(lambda: len(runners(plain)) == 2, WITHIN, "the second run")
    recorded = eventually(lambda: nothing_left(plain), WITHIN, "its acknowledgement")
    assert [LONG, None, 1] in recorded["successes"]
    assert len(runners(plain)) == 2


def test_plain_tasks_are_not_starved_by_jobs(plain: Plain) -> None:
    until = datetime.now(UTC) + timedelta(seconds=BUSY)
    for _ in range(CHAINS):
        plain.stack.post("trouble.again", {"until": until.isoformat(), "priority": 0})
    busy = plain.stack.clusters[0].children("worker")
    eventually(lambda: set(busy) <= workers_of_jobs(plain.stack), WITHIN, "work for all", pause=0.2)

    plain.order(f"order_one('note', {str(plain.file)!r}, 'in between')")

    eventually(lambda: "in between" in plain.notes(), WITHIN, "a plain task's turn")
    assert datetime.now(UTC) < until


def nothing_left(plain: Plain) -> dict[str, Any] | None:
    recorded = plain.recorded()
    return recorded if recorded["left"] == 0 else None


def runners(plain: Plain) -> list[int]:
    """The process ids of the workers that have begun the long task."""
    return [int(note.rpartition(" ")[2]) for note in plain.notes() if note.startswith(f"{LONG} on ")]


def workers_of_jobs(stack: ClusterStack) -> set[int]:
    return {int(event["worker"].rpartition(":")[2]) for event in stack.events("job_started")}
