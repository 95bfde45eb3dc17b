"""rbroker's specification, sentence by sentence, over HTTP and with leases that really expire; then a small chaos."""

import os
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from uuid import uuid4

import pytest
import requests

from demo.eventually import eventually
from demo.processes import Process
from demo.stack import ROOT
from tests.remote_chaos.run import Course, Size
from tests.support.cluster_stack import PATIENCE, ClusterStack, make_cluster_stack
from tests.support.event_stream import EventStream
from tests.support.remote_kinds.kinds import LEASE
from tests.support.stack import Client

pytestmark = pytest.mark.xdist_group("remote_workers")

KIND = "device.task"
EXAMPLE = ROOT / "examples" / "remote_worker" / "worker.mjs"
Json = dict[str, Any]


class Device:
    """One of a user's devices, which uses the HTTP API only."""

    def __init__(self, client: Client, name: str = "") -> None:
        self.client = client
        self.name = name or f"device-{uuid4()}"

    def begin(self, kind: str = KIND) -> requests.Response:
        return self.client.post("leases/", {"worker": self.name, "kinds": [kind]})

    def began(self, kind: str = KIND) -> Json:
        answer = self.begin(kind)
        assert answer.status_code == 201, answer.text
        lease: Json = answer.json()
        return lease

    def beat(self, lease: Json) -> requests.Response:
        return self.client.request("PATCH", lease["url"], json={})

    def succeed(self, lease: Json, result: object = None) -> requests.Response:
        return self.client.post(f"{lease['url']}success/", {"result": result})

    def fail(self, lease: Json, **more: object) -> requests.Response:
        return self.client.post(f"{lease['url']}failure/", {"message": "it did not work", **more})


class Waiting:
    """A device's request for a task, which the server may hold for so many seconds."""

    def __init__(self, device: Device, seconds: int = 20, kind: str = KIND) -> None:
        body, headers = {"worker": device.name, "kinds": [kind]}, {"Prefer": f"wait={seconds}"}
        self._answers: list[requests.Response] = []
        self._thread = Thread(target=lambda: self._answers.append(device.client.post("leases/", body, headers=headers)))
        self._thread.start()

    def answer(self) -> requests.Response:
        self._thread.join(PATIENCE)
        return self._answers[0]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    env = {"DJANGO_SETTINGS_MODULE": "tests.support.remote_kinds.settings"}
    with make_cluster_stack("postgresql", tmp_path_factory.mktemp("remote_workers"), workers=1, env=env) as stack:
        yield stack


@pytest.fixture
def owner(stack: ClusterStack) -> Client:
    """A user of this test alone, so that no other test's jobs are due."""
    return stack.client(f"owner-{uuid4().hex[:8]}")


@pytest.fixture
def device(owner: Client) -> Device:
    return Device(owner)


def post_job(owner: Client, **more: object) -> Json:
    job: Json = owner.post("jobs/", {"kind": KIND, **more}, expect=202).json()
    return job


def until_due_again(owner: Client, job: Json) -> Json:
    """Wait until the job's lease has expired and it is due again; returns the job."""
    return owner.wait_for(job["id"], {"queued", "retrying"}, PATIENCE)


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_device_lists_the_tasks_that_it_may_execute(stack: ClusterStack, owner: Client) -> None:
    job = post_job(owner)
    path = f"jobs/?kind={KIND}&status=queued"
    assert [one["id"] for one in owner.get(path, expect=200).json()["results"]] == [job["id"]]
    assert stack.client(f"stranger-{uuid4().hex[:8]}").get(path, expect=200).json()["results"] == []


def test_a_device_announces_the_beginning_and_then_has_two_minutes(owner: Client, device: Device) -> None:
    owner.post("jobs/", {"kind": "demo.remote", "params": {"note": ""}}, expect=202)
    lease = device.began("demo.remote")
    assert time(lease["expires_at"]) - time(lease["job"]["started_at"]) == timedelta(minutes=2)
    assert device.succeed(lease).status_code == 200


def test_a_device_reports_success(owner: Client, device: Device) -> None:
    job = post_job(owner)
    assert device.succeed(device.began(), {"photo": 17}).json()["status"] == "succeeded"
    assert owner.job(job["id"])["result"] == {"photo": 17}


def test_a_device_reports_failure(owner: Client, device: Device) -> None:
    job = post_job(owner)
    assert device.fail(device.began(), permanent=True).json()["status"] == "failed"
    assert owner.job(job["id"])["error"]["message"] == "it did not work"


def test_a_device_may_go_offline_at_any_time_and_the_task_is_due_again(owner: Client, device: Device) -> None:
    job = post_job(owner)
    lost = device.began()
    found = until_due_again(owner, job)
    assert time(found["errors"][0]["at"]) >= time(lost["expires_at"])
    again = Device(owner).began()
    assert (again["job"]["id"], again["job"]["attempt"]) == (job["id"], 2)


def test_a_device_that_comes_back_too_late_changes_nothing(owner: Client, device: Device) -> None:
    job = post_job(owner)
    lost = device.began()
    before = until_due_again(owner, job)
    assert [device.beat(lost).status_code, device.succeed(lost).status_code, device.fail(lost).status_code] == [410] * 3
    after = owner.job(job["id"])
    assert {**before, "status": ""} == {**after, "status": ""}


def test_the_owner_watches_what_the_device_reports(owner: Client, device: Device) -> None:
    job = post_job(owner)
    with EventStream(owner.another(), f"jobs/{job['id']}/events/") as stream:
        stream.wait_for_status("queued")
        lease = device.began()
        stream.wait_for_status("running")
        progress = {"percent": 40, "message": "photo 2 of 5"}
        owner.request("PATCH", lease["url"], json={"progress": progress})
        stream.wait_for(lambda event: event.data.get("progress") == progress)
        device.succeed(lease, "done")
        stream.wait_for_status("succeeded")
        stream.wait_for_end()


def test_a_device_that_sends_heartbeats_keeps_its_task(owner: Client, device: Device) -> None:
    job = post_job(owner)
    lease = device.began()
    until = time(lease["job"]["started_at"]) + timedelta(seconds=2 * LEASE)
    expires_at = eventually(lambda: _renewed_beyond(device, lease, until), PATIENCE, "renewals", pause=LEASE / 4)
    assert expires_at > until
    assert device.succeed(lease).status_code == 200
    assert (owner.job(job["id"])["attempt"], owner.job(job["id"])["errors"]) == (1, [])


def test_a_task_is_executed_by_one_device_at_a_time(owner: Client) -> None:
    post_job(owner)
    answers = _at_the_same_time([Device(owner.another()) for _ in range(8)])
    assert sorted(answers) == [201] + [204] * 7


def test_a_device_executes_one_task_at_a_time(owner: Client) -> None:
    for _ in range(4):  # one for each call: a claim passes over rows that another one has locked
        post_job(owner)
    name = f"device-{uuid4()}"
    assert sorted(_at_the_same_time([Device(owner.another(), name) for _ in range(4)])) == [201, 409, 409, 409]
    refused = Device(owner, name).begin()
    held = owner.get(refused.headers["Location"], expect=200).json()
    assert held["worker"] == name


def test_different_devices_work_at_once(owner: Client) -> None:
    devices = [Device(owner.another()) for _ in range(4)]
    posted = {post_job(owner)["id"] for _ in devices}
    leases = [device.began() for device in devices]
    assert {lease["job"]["id"] for lease in leases} == posted
    assert [device.succeed(lease).status_code for device, lease in zip(devices, leases, strict=True)] == [200] * 4


def test_a_task_may_be_retried_any_number_of_times(owner: Client, device: Device) -> None:
    job = post_job(owner)
    assert job["max_attempts"] is None
    for _ in range(12):
        assert device.fail(device.began(), retry_after=0).json()["status"] in {"retrying", "queued"}
    assert device.succeed(device.began()).json()["attempt"] == 13


def test_the_timeout_of_an_earlier_lease_does_not_end_a_later_one(owner: Client, device: Device) -> None:
    job = post_job(owner)
    first = device.began()
    assert device.fail(first, retry_after=0).status_code == 200
    second = device.began()
    over = time(first["expires_at"]) + timedelta(seconds=LEASE)
    eventually(lambda: _renewed_beyond(device, second, over), PATIENCE, "renewals", pause=LEASE / 4)
    assert device.succeed(second, "second").json()["result"] == "second"
    assert owner.job(job["id"])["attempt"] == 2


def test_a_lease_expires_even_if_the_cluster_was_killed_meanwhile(
    stack: ClusterStack, owner: Client, device: Device
) -> None:
    job = post_job(owner)
    device.began()
    [cluster] = stack.clusters
    cluster.kill()
    cluster.start()
    assert until_due_again(owner, job)["errors"][0]["type"] == "WorkerLost"


def test_a_waiting_device_gets_a_task_as_soon_as_it_is_posted(owner: Client) -> None:
    waiting = Waiting(Device(owner.another()))
    job = post_job(owner)
    assert waiting.answer().status_code == 201
    assert waiting.answer().json()["job"]["id"] == job["id"]


def test_a_waiting_device_gets_the_task_that_another_one_has_lost(owner: Client, device: Device) -> None:
    post_job(owner)
    lost = device.began()
    assert Waiting(Device(owner.another())).answer().json()["job"]["id"] == lost["job"]["id"]


def test_of_waiting_devices_one_gets_the_task_and_the_others_get_204(owner: Client) -> None:
    crowd = [Waiting(Device(owner.another()), seconds=5, kind="demo.remote") for _ in range(5)]
    post_job(owner, kind="demo.remote", params={"note": ""})
    answers = sorted((waiting.answer() for waiting in crowd), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [201, 204, 204, 204, 204]
    assert {answer.headers["Preference-Applied"] for answer in answers[1:]} == {"wait=5"}


def test_the_example_for_node_runs_a_job(stack: ClusterStack, owner: Client, tmp_path: Path) -> None:
    job = owner.post("jobs/", {"kind": "demo.remote", "params": {"note": "hello"}}, expect=202).json()
    node = subprocess.run([ROOT / "bin" / "node"], capture_output=True, text=True, check=True).stdout.strip()
    env = {**os.environ, "LEGWORK_URL": stack.url, "LEGWORK_TOKEN": owner.token, "WORKER": "node"}
    example = Process("node", [node, str(EXAMPLE)], log=tmp_path / "node.log", env=env)
    example.start()
    try:
        assert owner.wait_for(job["id"], "succeeded", PATIENCE)["result"] == {"shouted": "HELLO"}
        eventually(lambda: f"{job['id']} succeeded" in example.tail(), PATIENCE, "the example's line", pause=0.1)
    finally:
        example.stop()
    assert len(EXAMPLE.read_text().splitlines()) < 60


def test_a_small_chaos_keeps_every_promise(stack: ClusterStack) -> None:
    course = Course(stack, Size(jobs=60, workers=12, owners=2))
    assert course.run() == [], course.table()
    done = dict(course.table())
    assert done["jobs that succeeded exactly once"] == "60"
    assert int(done["vanished"]) > 0
    assert int(done["reported late"]) > 0


def _renewed_beyond(device: Device, lease: Json, moment: datetime) -> datetime | None:
    answer = device.beat(lease)
    assert answer.status_code == 200, answer.text
    expires_at = time(answer.json()["expires_at"])
    return expires_at if expires_at > moment else None


def _at_the_same_time(devices: list[Device]) -> list[int]:
    """The status of each answer when all devices ask for a task at the same moment."""
    together, answers = Barrier(len(devices)), list[int]()

    def ask(device: Device) -> None:
        together.wait(PATIENCE)
        answers.append(device.begin().status_code)

    threads = [Thread(target=ask, args=[device]) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
