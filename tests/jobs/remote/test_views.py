"""leases/, call by call as the HTTP contract has it: what is answered, and to whom."""

import re
import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from jobs.models import Job, Pause
from jobs.models.queryset import JobQuerySet
from jobs.models.states import Status
from jobs.registry import REMOTE_POOL, kinds
from jobs.remote import leases
from jobs.retry import exponential
from jobs.worker.rescue import rescue
from tests.support.api_clients import assert_problem, client, make_token
from tests.support.claims import claim_jobs
from tests.support.concurrency import in_threads
from tests.support.factories import make_kind, make_user, row
from tests.support.inline_worker import run_due
from tests.support.leases import DEVICE, JOBS, LEASES, lease, post_job

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> APIClient:
    return client(make_token(make_user("bob")))


def expire(job_id: str) -> None:
    """As if the worker had been silent for as long as its lease lasts."""
    Job.objects.filter(pk=job_id).update(lease_expires_at=timezone.now() - timedelta(milliseconds=1))


def shown(api: APIClient, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = api.get(f"{JOBS}{job_id}/").json()
    return job


def test_a_due_job_is_leased_in_the_form_of_the_contract(api: APIClient) -> None:
    job = post_job(api)
    answer = api.post(LEASES, DEVICE)
    assert answer.status_code == 201
    leased = answer.json()
    assert set(leased) == {"id", "url", "worker", "expires_at", "job"}
    assert leased["url"] == answer["Location"] == f"http://testserver{LEASES}{leased['id']}/"
    assert leased["worker"] == "device-1"
    assert leased["job"] == shown(api, job["id"])
    assert (leased["job"]["status"], leased["job"]["attempt"]) == ("running", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", leased["expires_at"])
    assert api.get(leased["url"]).json() == leased


def test_nothing_due_is_204(api: APIClient) -> None:
    post_job(api, run_at="2999-01-01T00:00:00Z")
    answer = api.post(LEASES, DEVICE)
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_scheduled_job_is_leased_once_it_is_due_although_no_cluster_runs(api: APIClient) -> None:
    job = post_job(api, run_at="2999-01-01T00:00:00Z")
    Job.objects.filter(pk=job["id"]).update(run_at=timezone.now() - timedelta(seconds=1))
    assert lease(api)["job"]["id"] == job["id"]


def test_the_best_job_is_leased_first(api: APIClient) -> None:
    posted = [post_job(api, priority=priority)["id"] for priority in (0, 5, 0)]
    leased = [lease(api, f"device-{n}")["job"]["id"] for n in range(3)]
    assert leased == [posted[1], posted[0], posted[2]]


def test_only_the_kinds_that_a_worker_names_are_leased(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, "device.sync", remote=True)
    post_job(api, priority=9)
    wanted = api.post(JOBS, {"kind": "device.sync"}).json()
    assert lease(api, "device-1", "device.sync")["job"]["id"] == wanted["id"]


def test_a_paused_kind_is_not_leased(api: APIClient) -> None:
    post_job(api)
    pause = Pause.objects.create(scope=Pause.Scope.KIND, name="demo.remote", reason="test", by="ada")
    assert api.post(LEASES, DEVICE).status_code == 204
    pause.delete()
    assert api.post(LEASES, DEVICE).status_code == 201


def test_a_worker_that_holds_a_lease_is_pointed_to_it(api: APIClient) -> None:
    post_job(api), post_job(api)
    held = lease(api)
    answer = api.post(LEASES, DEVICE)
    assert_problem(answer, 409)
    assert answer["Location"] == held["url"]
    assert lease(api, "device-2")["job"]["id"] != held["job"]["id"]


def test_the_database_refuses_a_second_lease_of_a_worker(api: APIClient, ada: User) -> None:
    post_job(api), post_job(api)
    lease(api)
    with pytest.raises(IntegrityError), transaction.atomic():
        claim_jobs("device-1", pool=REMOTE_POOL, owner=ada.pk, kinds=["demo.remote"])


def test_two_users_may_give_their_workers_the_same_name(api: APIClient, bob: APIClient) -> None:
    mine, his = post_job(api), post_job(bob)
    assert (lease(api)["job"]["id"], lease(bob)["job"]["id"]) == (mine["id"], his["id"])


def test_nobody_leases_or_sees_the_jobs_of_another(api: APIClient, bob: APIClient) -> None:
    post_job(api)
    assert bob.post(LEASES, DEVICE).status_code == 204
    held = lease(api)
    before = row(Job.objects.get())
    for answer in (
        bob.get(held["url"]),
        bob.patch(held["url"], {}),
        bob.post(f"{held['url']}success/", {"result": 1}),
        bob.post(f"{held['url']}failure/", {"message": "no"}),
    ):
        assert_problem(answer, 404)
    assert row(Job.objects.get()) == before


def test_a_lease_that_has_not_changed_is_304(api: APIClient) -> None:
    post_job(api)
    held = lease(api)
    known = {"If-None-Match": api.get(held["url"])["ETag"]}
    assert api.get(held["url"], headers=known).status_code == 304
    api.patch(held["url"], {"progress": {"percent": 7, "message": ""}})
    assert api.get(held["url"], headers=known).status_code == 200


def test_a_heartbeat_renews_the_lease_and_shows_progress(api: APIClient) -> None:
    job = post_job(api)
    held = lease(api)
    soon = timezone.now() + timedelta(seconds=5)
    Job.objects.update(lease_expires_at=soon)
    answer = api.patch(held["url"], {"progress": {"percent": 12.5, "message": "half a quarter"}})
    assert answer.status_code == 200
    assert set(answer.json()) == {"expires_at", "cancel_requested"}
    assert answer.json()["expires_at"] > soon.isoformat()
    assert shown(api, job["id"])["progress"] == {"percent": 12.5, "message": "half a quarter"}
    assert api.patch(held["url"], {}).status_code == api.patch(held["url"]).status_code == 200
    assert shown(api, job["id"])["progress"] == {"percent": 12.5, "message": "half a quarter"}


def test_a_lease_lasts_as_its_kind_says_and_ends_with_the_timeout(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kind(monkeypatch, lambda run: None, "device.sync", remote=True, lease=10)
    for timeout, length in [(600, 10), (3, 3)]:
        api.post(JOBS, {"kind": "device.sync", "timeout": timeout})
        job = Job.objects.get(pk=lease(api, f"device-{timeout}", "device.sync")["job"]["id"])
        assert job.lease_expires_at - job.started_at == timedelta(seconds=length)


def test_a_worker_that_beats_on_and_on_is_stopped_by_the_timeout(api: APIClient) -> None:
    post_job(api, timeout=30)
    held = lease(api)
    began = timezone.now() - timedelta(seconds=29)
    Job.objects.update(started_at=began)
    expires = api.patch(held["url"], {}).json()["expires_at"]
    assert expires == (began + timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
    Job.objects.update(started_at=began - timedelta(seconds=2), lease_expires_at=began + timedelta(seconds=28))
    assert rescue(Job.objects.expired()) == 1
    assert [error["type"] for error in shown(api, held["job"]["id"])["errors"]] == ["TimedOut"]


def test_success_finishes_the_job_and_can_be_repeated(api: APIClient) -> None:
    job = post_job(api)
    held = lease(api)
    answers = [api.post(f"{held['url']}success/", {"result": {"watered": [1, 2.5, None]}}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() == shown(api, job["id"])
    assert answers[0].json()["status"] == "succeeded"
    assert answers[0].json()["result"] == {"watered": [1, 2.5, None]}
    assert answers[0].json()["progress"]["percent"] == 100


def test_a_finished_lease_is_gone_for_everything_else(api: APIClient) -> None:
    post_job(api)
    held = lease(api)
    api.post(f"{held['url']}success/", {"result": 1})
    before = row(Job.objects.get())
    assert_gone(api, held["url"])
    assert row(Job.objects.get()) == before


def test_a_failure_is_retried_after_the_time_that_the_worker_says(api: APIClient) -> None:
    post_job(api)
    held = lease(api)
    reports = [api.post(f"{held['url']}failure/", {"message": "no water", "retry_after": 3600}) for _ in range(2)]
    assert [report.status_code for report in reports] == [200, 200]
    job = reports[1].json()
    assert (job["status"], job["error"]) == ("retrying", None)
    assert [(error["message"], error["attempt"]) for error in job["errors"]] == [("no water", 1)]
    assert job["run_at"] > (timezone.now() + timedelta(minutes=59)).isoformat()
    assert_problem(api.post(f"{held['url']}failure/", {"message": "another one"}), 410)


def test_a_permanent_failure_fails_the_job(api: APIClient) -> None:
    post_job(api)
    job = api.post(f"{lease(api)['url']}failure/", {"message": "no plants", "permanent": True}).json()
    assert (job["status"], job["error"]["message"]) == ("failed", "no plants")


def test_attempts_are_unlimited_unless_the_post_or_the_kind_limits_them(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert post_job(api)["max_attempts"] is None
    assert post_job(api, max_attempts=None)["max_attempts"] is None
    Job.objects.all().delete()
    post_job(api, max_attempts=1)
    assert api.post(f"{lease(api)['url']}failure/", {"message": "no"}).json()["status"] == "failed"
    make_kind(monkeypatch, lambda run: None, "device.sync", remote=True, retry=exponential(attempts=7))
    assert api.post(JOBS, {"kind": "device.sync"}).json()["max_attempts"] == 7


@pytest.mark.parametrize("rescued", [True, False])
def test_a_late_report_is_410_and_changes_nothing(api: APIClient, rescued: bool) -> None:
    job = post_job(api)
    held = lease(api)
    expire(job["id"])
    if rescued:
        rescue(Job.objects.expired())
    before = row(Job.objects.get())
    assert_gone(api, held["url"])
    assert row(Job.objects.get()) == before


def test_a_lost_job_is_due_again_at_once_for_any_worker_and_the_fence_holds(api: APIClient) -> None:
    job = post_job(api)
    lost = lease(api)
    expire(job["id"])
    rescue(Job.objects.expired())
    again = lease(api, "device-2")
    assert (again["job"]["id"], again["job"]["attempt"]) == (job["id"], 2)
    assert_gone(api, lost["url"])
    assert api.post(f"{again['url']}success/", {"result": "by device-2"}).status_code == 200
    found = shown(api, job["id"])
    assert (found["status"], found["result"]) == ("succeeded", "by device-2")
    assert [error["type"] for error in found["errors"]] == ["WorkerLost"]


def test_a_worker_whose_lease_has_expired_may_lease_again_before_any_rescue(api: APIClient) -> None:
    job = post_job(api)
    lost = lease(api)
    expire(job["id"])
    again = lease(api)
    assert (again["job"]["id"], again["job"]["attempt"]) == (job["id"], 2)
    assert again["id"] != lost["id"]


def test_a_request_that_found_an_expired_lease_leaves_a_new_one_alone(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = post_job(api)
    lease(api)
    expire(job["id"])

    def rescue_after_another_request(lost: JobQuerySet) -> int:
        monkeypatch.setattr(leases, "rescue", rescue)
        assert lease(api)["job"]["attempt"] == 2
        return rescue(lost)

    monkeypatch.setattr(leases, "rescue", rescue_after_another_request)
    assert api.post(LEASES, DEVICE).status_code == 204
    assert (shown(api, job["id"])["status"], shown(api, job["id"])["attempt"]) == ("running", 2)


def test_cancellation_is_seen_by_the_heartbeat_and_ends_with_the_report(api: APIClient) -> None:
    job = post_job(api)
    held = lease(api)
    assert api.post(f"{JOBS}{job['id']}/cancellation/").status_code == 202
    assert api.patch(held["url"], {}).json()["cancel_requested"] is True
    stopped = api.post(f"{held['url']}failure/", {"message": "stopped"})
    assert (stopped.status_code, stopped.json()["status"]) == (200, "cancelled")


def test_a_cancelled_job_of_a_silent_worker_is_cancelled_by_the_rescue(api: APIClient) -> None:
    job = post_job(api)
    lease(api)
    api.post(f"{JOBS}{job['id']}/cancellation/")
    expire(job["id"])
    rescue(Job.objects.expired())
    assert shown(api, job["id"])["status"] == "cancelled"


def test_a_waiting_job_is_cancelled_at_once(api: APIClient) -> None:
    job = post_job(api)
    assert api.post(f"{JOBS}{job['id']}/cancellation/").json()["status"] == "cancelled"
    assert api.post(LEASES, DEVICE).status_code == 204


def test_a_cluster_never_claims_remote_kinds(api: APIClient) -> None:
    job = post_job(api)
    run_due()
    assert shown(api, job["id"])["status"] == "queued"
    assert REMOTE_POOL not in {kind.pool for kind in kinds() if kind.threads}


def test_a_remote_worker_may_have_the_name_of_a_dead_process(api: APIClient) -> None:
    post_job(api)
    lease(api, "here:1")
    assert not Job.objects.running_on("here:1").exists()


def test_a_lease_with_an_idempotency_key_is_leased_once(api: APIClient) -> None:
    post_job(api), post_job(api)
    first, second = [api.post(LEASES, DEVICE, headers={"Idempotency-Key": "a"}) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.content, second["Idempotency-Replayed"]) == (second.content, "true")
    assert second["Location"] == first["Location"]


def test_nothing_due_uses_up_no_idempotency_key(api: APIClient) -> None:
    assert api.post(LEASES, DEVICE, headers={"Idempotency-Key": "a"}).status_code == 204
    post_job(api)
    assert api.post(LEASES, DEVICE, headers={"Idempotency-Key": "a"}).status_code == 201


@pytest.mark.parametrize("name", ["{other}-1", "{job}-2", "{job}-0", "{job}-99999999999", "{job}", "nonsense"])
def test_a_lease_that_never_existed_is_404(api: APIClient, name: str) -> None:
    job = post_job(api)
    lease(api)
    assert_problem(api.get(f"{LEASES}{name.format(other=uuid4(), job=job['id'])}/"), 404)


def test_a_job_that_a_cluster_runs_has_no_lease_to_report_on(api: APIClient) -> None:
    job = api.post(JOBS, {"kind": "demo.countdown", "params": {"seconds": 0}}).json()
    claim_jobs("here:1")
    assert_problem(api.post(f"{LEASES}{job['id']}-1/success/", {"result": 1}), 404)


def test_anonymous_requests_get_no_lease(api: APIClient) -> None:
    post_job(api)
    held = lease(api)
    anonymous = client()
    assert_problem(anonymous.post(LEASES, DEVICE), 401)
    assert_problem(anonymous.get(held["url"]), 401)


def test_kinds_say_whether_they_are_remote(api: APIClient) -> None:
    listed = {kind["name"]: kind["remote"] for kind in api.get("/api/v1/job-kinds/").json()["results"]}
    assert (listed["demo.remote"], listed["demo.countdown"]) == (True, False)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time.")
@pytest.mark.django_db(transaction=True)
def test_of_concurrent_requests_of_one_worker_one_gets_a_lease() -> None:
    key = make_token(make_user("eve"))
    for _ in range(8):
        post_job(client(key))
    together, answers = threading.Barrier(4), list[int]()

    def ask() -> None:
        together.wait(60)
        answers.append(client(key).post(LEASES, DEVICE).status_code)

    in_threads(*[ask] * 4)
    assert sorted(answers) == [201, 409, 409, 409]
    assert Job.objects.filter(status=Status.RUNNING).count() == 1


def assert_gone(api: APIClient, url: str) -> None:
    assert_problem(api.get(url), 410)
    assert_problem(api.patch(url, {"progress": {"percent": 1}}), 410)
    assert_problem(api.post(f"{url}success/", {"result": "late"}), 410)
    assert_problem(api.post(f"{url}failure/", {"message": "late"}), 410)
