"""A handler that has timed out or is cancelled is stopped, whatever it is doing."""

from collections.abc import Iterator

import pytest

from jobs.cluster.supervisor import CHECK_EVERY as SUPERVISOR_CHECKS_EVERY
from jobs.cluster.supervisor import MIN_RESTART_INTERVAL
from jobs.models.queue.leases import LEASE
from jobs.worker.attempts.interrupt import REPEAT_AFTER
from jobs.worker.heartbeat import CHECK_EVERY, RENEW_EVERY
from jobs.worker.watchdog import STUCK_AFTER
from tests.support.cluster_stack import ClusterStack, Event, make_cluster_stack, now, on_both, seconds_between

TIMEOUT = 1
INTERRUPTED_WITHIN, KILLED_WITHIN = 2, 6
CANCELLED_WITHIN, CANCELLED_IN_C_WITHIN = 6, 8
"""Seconds that are promised."""
SLACK = 15
"""Seconds that a busy machine may add; a lease that has to end first takes much longer."""
INTERRUPTIBLE = ["asleep", "looping", "in a system call"]
DEAF = ["in C", "in C with the GIL", "in a system call with the GIL"]
CANCELLABLE = ["asleep", "looping", "swallowing", "in C"]
WORKERS = len(INTERRUPTIBLE) + len(DEAF) + 1


@pytest.fixture(scope="module", params=on_both("interruptions"))
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    with make_cluster_stack(request.param, tmp_path_factory.mktemp("interruptions"), workers=WORKERS) as stack:
        yield stack


@pytest.fixture(scope="module")
def late(stack: ClusterStack) -> dict[str, Event]:
    """A job for each way to be stuck, all posted at once, with one attempt that may take a second."""
    options = {"timeout": TIMEOUT, "max_attempts": 1}
    return {how: stack.post("trouble.stuck", {"how": how}, **options) for how in [*INTERRUPTIBLE, *DEAF]}


@pytest.fixture(scope="module")
def unwanted(stack: ClusterStack, late: dict[str, Event]) -> dict[str, Event]:
    """A job for each way to be stuck, cancelled as soon as all of them were running."""
    for job in late.values():
        stack.wait(job, "failed")
    jobs = {how: stack.post("trouble.stuck", {"how": how}, timeout=600) for how in CANCELLABLE}
    for job in jobs.values():
        stack.wait(job, "running")
    for job in jobs.values():
        job["unwanted_since"] = now()
        stack.cancel(job)
    return jobs


def test_the_intervals_of_all_processes_fit_into_the_promised_times() -> None:
    assert REPEAT_AFTER < INTERRUPTED_WITHIN
    assert STUCK_AFTER + SUPERVISOR_CHECKS_EVERY + MIN_RESTART_INTERVAL < KILLED_WITHIN
    assert RENEW_EVERY + CHECK_EVERY + REPEAT_AFTER < CANCELLED_WITHIN
    assert (
        RENEW_EVERY + CHECK_EVERY + STUCK_AFTER + SUPERVISOR_CHECKS_EVERY + MIN_RESTART_INTERVAL < CANCELLED_IN_C_WITHIN
    )
    assert max(TIMEOUT + KILLED_WITHIN, CANCELLED_IN_C_WITHIN) + SLACK < LEASE.total_seconds()


@pytest.mark.parametrize("how", INTERRUPTIBLE)
def test_a_handler_is_interrupted_within_two_seconds_of_its_timeout(
    stack: ClusterStack, late: dict[str, Event], how: str
) -> None:
    job = stack.wait(late[how], "failed")

    assert [error["type"] for error in job["errors"]] == ["TimedOut"]
    assert TIMEOUT <= running_time(job) < TIMEOUT + INTERRUPTED_WITHIN + SLACK
    assert not killed_over(stack, job)


@pytest.mark.parametrize("how", DEAF)
def test_a_job_that_is_stuck_in_c_is_killed_with_its_process_and_has_timed_out(
    stack: ClusterStack, late: dict[str, Event], how: str
) -> None:
    job = stack.wait(late[how], "failed")

    assert [error["type"] for error in job["errors"]] == ["TimedOut"]
    assert running_time(job) < TIMEOUT + KILLED_WITHIN + SLACK
    assert killed_over(stack, job)


def test_the_cluster_goes_on_after_its_workers_were_killed(stack: ClusterStack, late: dict[str, Event]) -> None:
    for job in late.values():
        stack.wait(job, "failed")
    stack.clusters[0].wait_until_up(WORKERS)

    jobs = [stack.post("trouble.sleep", {"seconds": 0}) for _ in range(2 * WORKERS)]

    for job in jobs:
        assert stack.wait(job, "succeeded")["attempt"] == 1


@pytest.mark.parametrize("how", CANCELLABLE)
def test_a_running_job_that_is_cancelled_ends_within_six_seconds(
    stack: ClusterStack, unwanted: dict[str, Event], how: str
) -> None:
    job = stack.wait(unwanted[how], "cancelled")

    promised = CANCELLED_IN_C_WITHIN if how == "in C" else CANCELLED_WITHIN
    assert seconds_between(unwanted[how]["unwanted_since"], job["finished_at"]) < promised + SLACK
    assert job["attempt"] == 1


def test_a_cancelled_job_is_not_started_again(stack: ClusterStack, unwanted: dict[str, Event]) -> None:
    for job in unwanted.values():
        stack.wait(job, "cancelled")
        assert len(stack.events("job_started", job_id=job["id"])) == 1


def test_a_job_is_cancelled_at_once_while_it_waits(stack: ClusterStack) -> None:
    job = stack.post("trouble.sleep", {"seconds": 0}, run_at="2100-01-01T00:00:00Z")

    stack.cancel(job)

    assert stack.client().job(job["id"])["status"] == "cancelled"


def running_time(job: Event) -> float:
    return seconds_between(job["started_at"], job["finished_at"])


def killed_over(stack: ClusterStack, job: Event) -> bool:
    """True if the supervisor killed the worker that ran the job."""
    [begun] = stack.events("job_started", job_id=job["id"])
    return bool(stack.events("child_stuck_and_killed", child=begun["worker"]))
