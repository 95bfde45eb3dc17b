"""Jobs from POST to result on a whole stack, beside one that outlasts its lease."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.eventually import eventually
from tests.conftest import DATABASES, make_database
from tests.support.cluster_stack import PATIENCE
from tests.support.failing_kinds.kinds import ENDINGS
from tests.support.stack import Client, Stack

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.support.failing_kinds.settings", "WORKERS": "3", "LOG_LEVEL": "DEBUG"}
COUNT = 10
"""Seconds of a job whose progress is looked at, now and then if the machine is busy."""
LONG = 33
"""Seconds: longer than a lease, so that whoever takes the job for lost has the time to run it again."""
OBEYED_WITHIN, STARTED_WITHIN = 6, 1
"""Seconds that are promised."""
SLACK = 20
"""Seconds that a busy machine may add."""
SCHEDULES_WITHIN = 120

Job = dict[str, Any]


class BusyStack(Stack):
    """Begins with a job that takes LONG, and with a task and a schedule of django-q's own."""

    def start(self, within: float = 180) -> None:
        super().start(within)
        self.long_job = post(self.client(), "demo.countdown", {"seconds": LONG})
        self.run_code('from tests.support.failing_kinds.tasks import order; order("ada")')


def on(*databases: str) -> list[Any]:
    return [
        pytest.param(name, marks=[pytest.mark.xdist_group(f"busy {name}"), pytest.mark.stack]) for name in databases
    ]


@pytest.fixture(scope="module", params=on(*DATABASES))
def busy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyStack]:
    folder = tmp_path_factory.mktemp("busy")
    with BusyStack(make_url(request.param, folder), folder, env=SETTINGS) as stack:
        yield stack


@pytest.fixture
def client(busy: BusyStack) -> Client:
    return busy.client()


def make_url(database: str, folder: Path) -> str:
    return f"sqlite:///{folder}/legwork.sqlite3" if database == "sqlite" else make_database("busy")


def post(client: Client, kind: str, params: dict[str, Any], **fields: Any) -> Job:
    job: Job = client.post("jobs/", {"kind": kind, "params": params, **fields}, expect=202).json()
    return job


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def workers_of(stack: Stack) -> set[int]:
    """The processes that the cluster has forked."""
    cluster = stack.process("worker").pid
    return {int(pid) for pid in Path(f"/proc/{cluster}/task/{cluster}/children").read_text().split()}


def test_progress_rises_while_a_job_runs_and_then_it_has_its_result(busy: BusyStack, client: Client) -> None:
    posted = client.post("jobs/", {"kind": "demo.countdown", "params": {"seconds": COUNT}}, expect=202)
    assert posted.headers["Location"] == posted.json()["url"]
    assert int(posted.headers["Retry-After"]) >= 1
    seen: list[Job] = []

    def finished() -> bool:
        seen.append(client.job(posted.json()["id"]))
        return seen[-1]["finished_at"] is not None

    eventually(finished, COUNT + PATIENCE, pause=0.25)
    percents = [job["progress"]["percent"] for job in seen]
    assert percents == sorted(percents)
    assert len({percent for percent in percents if 0 < percent < 100}) >= 3
    for job in seen:
        if 0 < job["progress"]["percent"] < 100:
            left = COUNT - round(COUNT * job["progress"]["percent"] / 100)
            assert job["progress"]["message"] == f"{left} s left"
    assert_run_once(busy, seen[-1], COUNT)


def test_a_job_that_fails_twice_succeeds_the_third_time(client: Client) -> None:
    job = post(client, "demo.countdown", {"seconds": 0, "fail_attempts": 2, "error": "transient"})
    done = client.wait_for(job["id"], "succeeded")
    assert (done["attempt"], done["error"]) == (3, None)
    assert [(error["type"], error["attempt"]) for error in done["errors"]] == [
        ("TransientError", 1),
        ("TransientError", 2),
    ]


def test_a_job_fails_when_its_attempts_are_used_up(client: Client) -> None:
    job = post(client, "demo.countdown", {"seconds": 0, "fail_attempts": 9}, max_attempts=2)
    done = client.wait_for(job["id"], "failed")
    assert (done["attempt"], done["error"]["attempt"], len(done["errors"])) == (2, 2, 2)


def test_a_permanent_error_fails_a_job_at_once(client: Client) -> None:
    job = post(client, "demo.countdown", {"seconds": 0, "fail_attempts": 1, "error": "permanent"})
    done = client.wait_for(job["id"], "failed")
    assert (done["attempt"], done["max_attempts"]) == (1, 3)
    assert done["error"].items() <= done["errors"][0].items()
    assert done["error"]["type"] == "PermanentError"
    assert done["error"]["message"] == "attempt 1 was asked to fail"


def test_a_failed_job_is_restarted_and_succeeds(client: Client) -> None:
    job = post(client, "demo.countdown", {"seconds": 0, "fail_attempts": 1}, max_attempts=1)
    client.wait_for(job["id"], "failed")
    assert client.post(f"jobs/{job['id']}/retries/", expect=202).json()["max_attempts"] == 2
    eventually(lambda: client.job(job["id"])["status"] == "succeeded", PATIENCE, pause=0.1)


def test_nothing_that_a_handler_raises_ends_its_worker(busy: BusyStack, client: Client) -> None:
    workers = workers_of(busy)
    jobs = {ending: post(client, "fail.end", {"ending": ending}) for ending in ENDINGS}
    failed = {ending: client.wait_for(job["id"], "failed") for ending, job in jobs.items()}

    assert failed["SystemExit"]["error"]["type"] == "SystemExit"
    assert failed["an exception"]["error"]["message"] == "The job failed; its operators can see why."
    assert {ending: job["attempt"] for ending, job in failed.items()} == dict.fromkeys(ENDINGS, 2) | {"no JSON": 1}
    assert workers_of(busy) == workers


def test_a_running_job_is_cancelled_within_seconds(client: Client) -> None:
    job = post(client, "demo.countdown", {"seconds": 3600})
    client.wait_for(job["id"], "running")
    asked_at = datetime.now(UTC).isoformat()
    told = client.post(f"jobs/{job['id']}/cancellation/", expect=202).json()
    assert (told["status"], told["cancel_requested"]) == ("running", True)
    stopped = client.wait_for(job["id"], "cancelled")
    assert seconds_between(asked_at, stopped["finished_at"]) < OBEYED_WITHIN + SLACK
    assert (stopped["result"], stopped["error"], stopped["attempt"]) == (None, None, 1)
    assert client.post(f"jobs/{job['id']}/cancellation/", expect=200).json() == stopped


def test_a_scheduled_job_starts_when_its_time_has_come_and_not_before(client: Client) -> None:
    job = post(client, "demo.countdown", {"seconds": 0}, run_at=(datetime.now(UTC) + timedelta(seconds=2)).isoformat())
    assert job["status"] == ("scheduled" if seconds_between(job["created_at"], job["run_at"]) > 0 else "queued")
    done = client.wait_for(job["id"], "succeeded")
    assert done["run_at"] == job["run_at"]
    assert 0 <= seconds_between(done["run_at"], done["started_at"]) < STARTED_WITHIN + SLACK


def test_a_job_posted_to_idle_workers_starts_at_once(client: Client) -> None:
    done = client.wait_for(post(client, "demo.countdown", {"seconds": 0})["id"], "succeeded")
    assert seconds_between(done["created_at"], done["started_at"]) < STARTED_WITHIN + SLACK


def test_an_http_request_to_an_allowed_host_brings_its_answer(busy: BusyStack, client: Client) -> None:
    job = post(client, "http.request", {"url": f"{busy.url}/healthz", "expect": [200]})
    done = client.wait_for(job["id"], "succeeded")
    assert (done["result"]["status"], done["result"]["body"]) == (200, '{"status":"ok"}')


@pytest.mark.parametrize("how", ["by a task", "by a schedule"])
def test_what_is_left_to_django_q_itself_is_served(client: Client, how: str) -> None:
    def served() -> bool:
        jobs = client.get("jobs/?page_size=200", expect=200).json()["results"]
        return how in {job["unique_key"] for job in jobs}

    eventually(served, SCHEDULES_WITHIN, f"a call {how}", pause=0.5)


@pytest.mark.parametrize("busy", on("sqlite"), indirect=True, scope="module")
def test_a_job_longer_than_a_lease_is_run_exactly_once(busy: BusyStack, client: Client) -> None:
    """On PostgreSQL tests/system/jobs/test_lease_expiry.py has one."""
    assert_run_once(busy, client.wait_for(busy.long_job["id"], "succeeded", LONG + PATIENCE), LONG)


@pytest.mark.long
@pytest.mark.parametrize("database", DATABASES)
def test_a_job_of_five_minutes_is_run_exactly_once(database: str, tmp_path: Path) -> None:
    with Stack(make_url(database, tmp_path), tmp_path, env=SETTINGS) as stack:
        job = post(stack.client(), "demo.countdown", {"seconds": 300})
        assert_run_once(stack, stack.client().wait_for(job["id"], "succeeded", 300 + PATIENCE), 300)


def assert_run_once(stack: Stack, job: Job, seconds: int) -> None:
    assert (job["result"], job["attempt"], job["errors"]) == ({"counted": seconds}, 1, [])
    assert seconds <= seconds_between(job["started_at"], job["finished_at"]) < seconds + PATIENCE
    starts = [line for line in stack.process("worker").log.read_text().splitlines() if "job_started" in line]
    assert len([line for line in starts if job["id"] in line]) == 1
