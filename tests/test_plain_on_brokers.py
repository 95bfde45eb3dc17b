"""Plain django-q tasks and schedules through real clusters on each broker: run once, recorded, never lost."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.eventually import eventually
from tests.brokers import PLACES, make_farm_on, on_each
from tests.farm import Farm, kill
from tests.kinds_of_trouble.tasks import MANY

WORKERS = 2
RETRY = 6
"""Seconds after which a task that failed or was lost is tried again; an hour outside of tests."""
ATTEMPTS = 3
WITHIN = 40
BUSY, CHAINS = 120, 20
"""Seconds for which all workers have jobs to do, and jobs that each order another before they end."""


@dataclass
class Plain:
    """A farm, and the file in which its tasks leave their notes."""

    farm: Farm
    file: Path

    def order(self, call: str) -> None:
        self.farm.manage(
            "shell", "--verbosity", "0", "--command", f"from tests.kinds_of_trouble.tasks import *; {call}"
        )

    def notes(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []

    def recorded(self) -> dict[str, Any]:
        code = "from tests.kinds_of_trouble.tasks import show; show()"
        found: dict[str, Any] = json.loads(self.farm.manage("shell", "--verbosity", "0", "--command", code))
        return found


@pytest.fixture(scope="module", params=on_each(PLACES, "plain"))
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """What is ordered before a cluster starts waits for it."""
    folder = tmp_path_factory.mktemp(f"plain-{request.param}")
    with make_farm_on(request.param, request, folder, clusters=0, env={"PLAIN_RETRY": str(RETRY)}) as farm:
        plain = Plain(farm, folder / "notes")
        plain.order(f"order({str(plain.file)!r})")
        farm.start_cluster(WORKERS)
        yield plain


def test_each_is_run_once_and_recorded_and_its_hook_is_called(plain: Plain) -> None:
    """The one that fails is run as often as is allowed."""
    expected = Counter(
        ["task", "schedule", "schedule of every minute", *(f"task {number}" for number in range(MANY))]
        + ["hook of task: True", "hook of schedule: True"]
        + ["bad task", "hook of bad task: False"] * ATTEMPTS
    )

    eventually(lambda: expected <= Counter(plain.notes()), WITHIN, "the end of all tasks")

    recorded = eventually(lambda: nothing_left(plain), WITHIN, "the acknowledgement of all tasks")
    assert Counter(plain.notes()) == expected
    lines = ["task", "schedule", "schedule of every minute", *(f"task {number}" for number in range(MANY))]
    assert sorted(recorded["successes"]) == sorted([line, line, 1] for line in lines)
    [[line, error, attempts]] = recorded["failures"]
    assert (line, attempts) == ("bad task", ATTEMPTS)
    assert "ValueError: bad task is refused" in error


def test_one_whose_worker_is_killed_runs_again(plain: Plain) -> None:
    plain.order(f"order_one('dawdle_once', {str(plain.file)!r}, 'long task')")

    kill(eventually(lambda: runners(plain, "long task"), WITHIN, "the first run")[0])

    eventually(lambda: len(runners(plain, "long task")) == 2, WITHIN, "the second run")
    recorded = eventually(lambda: nothing_left(plain), WITHIN, "its acknowledgement")
    assert ["long task", None, 1] in recorded["successes"]
    assert len(runners(plain, "long task")) == 2


def test_they_are_not_starved_by_jobs(plain: Plain) -> None:
    until = datetime.now(UTC) + timedelta(seconds=BUSY)
    for _ in range(CHAINS):
        plain.farm.post("trouble.again", {"until": until.isoformat(), "priority": 0})
    busy = plain.farm.clusters[0].children("worker")
    eventually(lambda: set(busy) <= workers_of_jobs(plain.farm), WITHIN, "work for all")

    plain.order(f"order_one('note', {str(plain.file)!r}, 'in between')")

    eventually(lambda: "in between" in plain.notes(), BUSY / 2, "a plain task's turn")
    assert datetime.now(UTC) < until


def nothing_left(plain: Plain) -> dict[str, Any] | None:
    recorded = plain.recorded()
    return recorded if recorded["left"] == 0 else None


def runners(plain: Plain, line: str) -> list[int]:
    """The process ids of those that have begun it."""
    return [int(note.rpartition(" ")[2]) for note in plain.notes() if note.startswith(f"{line} on ")]


def workers_of_jobs(farm: Farm) -> set[int]:
    return {int(event["worker"].rpartition(":")[2]) for event in farm.events("job_started")}
