"""A real cluster that serves one queue: jobs, plain tasks and schedules of its own, and nobody else's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.eventually import eventually
from tests.support.cluster_stack import PATIENCE, ClusterStack, make_cluster_stack

OURS, OTHERS = "of mail", "of all"
ORDER = """
from tests.support.misbehaving_kinds.tasks import *
for line, cluster in ((%(others)r, None), (%(ours)r, "mail")):
    schedule(f"{HERE}.note", %(file)r, f"schedule {line}", cluster=cluster)
    async_task(f"{HERE}.note", %(file)r, f"task {line}", cluster=cluster)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    with make_cluster_stack("postgresql", tmp_path_factory.mktemp("one_queue"), clusters=0) as stack:
        yield stack


@pytest.mark.xdist_group("one_queue")
@pytest.mark.parametrize(
    "wish", [{"options": ["--queue", "mail"]}, {"env": {"Q_CLUSTER_NAME": "mail"}}], ids=["option", "variable"]
)
def test_a_cluster_of_one_queue_does_its_own_work_and_leaves_the_rest(
    wish: dict[str, Any], stack: ClusterStack, tmp_path: Path
) -> None:
    """The others are queued first: a cluster that took them at all would take them first."""
    file = tmp_path / "notes"
    stack.run_code(ORDER % {"file": str(file), "ours": OURS, "others": OTHERS})
    other, ours = stack.post("trouble.sleep", {"seconds": 0}), stack.post("trouble.mail")

    cluster = stack.start_cluster(**wish)
    stack.wait(ours, "succeeded")
    wait_for_notes(file, OURS)
    assert stack.client().job(other["id"])["status"] == "queued"
    assert all(line.endswith(OURS) for line in file.read_text().splitlines())

    of_all = stack.start_cluster()
    stack.wait(other, "succeeded")
    wait_for_notes(file, OTHERS)
    for each in (cluster, of_all):
        each.kill()


def wait_for_notes(file: Path, ending: str) -> None:
    expected = {f"schedule {ending}", f"task {ending}"}
    eventually(
        lambda: file.exists() and expected <= set(file.read_text().splitlines()),
        PATIENCE,
        f"what is to be noted {ending}",
    )
