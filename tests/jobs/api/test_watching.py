"""What the views of watching check and answer, without an event loop; and the versions by which clients resume."""

from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.models.states import Status
from tests.support.claims import claim_jobs
from tests.support.factories import WORKER, make_error, make_job, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> APIClient:
    client = APIClient()
    client.user = make_user()
    client.force_authenticate(client.user)
    return client


def events_of(job: Job) -> str:
    return f"/api/v1/jobs/{job.pk}/events/"


def version(job: Job) -> int:
    return Job.objects.values_list("version", flat=True).get(pk=job.pk)


def test_a_stream_is_text_that_no_cache_keeps(api: Any) -> None:
    for path in (events_of(make_job(user=api.user)), "/api/v1/jobs/events/"):
        answer = api.get(path)
        assert answer.status_code == 200
        assert answer["Content-Type"] == "text/event-stream"
        assert answer["Cache-Control"] == "no-store"
        assert answer["X-Accel-Buffering"] == "no"
        assert answer["RateLimit"]
        assert answer["X-Request-ID"]


def test_only_the_owner_watches(api: Any) -> None:
    assert api.get(events_of(make_job(user=make_user("grace")))).status_code == 404
    anonymous = APIClient().get(events_of(make_job(user=api.user)))
    assert anonymous.status_code == 401
    assert anonymous["WWW-Authenticate"] == "Token"
    assert anonymous["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("id_", ["x", "-1", "1.5", "9" * 20, "\uff19"])
def test_a_last_event_id_that_no_event_can_have_is_refused(api: Any, id_: str) -> None:
    path = events_of(make_job(user=api.user))
    for answer in (api.get(path, {"after": id_}), api.get(path, HTTP_LAST_EVENT_ID=id_.encode().decode("latin-1"))):
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("query", [{"afte": "1"}, {"status": "running"}])
def test_unknown_parameters_are_refused(api: Any, query: dict[str, str]) -> None:
    answer = api.get(events_of(make_job(user=api.user)), query)
    assert answer.status_code == 400
    assert "Allowed: after" in answer.json()["errors"][0]["detail"]


def test_an_unknown_status_is_refused_with_the_choices(api: Any) -> None:
    answer = api.get("/api/v1/jobs/events/?status=queued&status=done")
    assert answer.status_code == 400
    assert "succeeded" in answer.json()["errors"][0]["detail"]


def test_a_client_that_has_the_final_state_gets_204(api: Any) -> None:
    job = make_job(Status.SUCCEEDED, user=api.user)
    assert api.get(events_of(job), {"after": str(version(job))}).status_code == 204
    assert api.get(events_of(job), HTTP_LAST_EVENT_ID=str(version(job))).status_code == 204
    assert api.get(events_of(job), {"after": str(version(job) - 1)}).status_code == 200
    running = make_job(Status.RUNNING, user=api.user)
    assert api.get(events_of(running), {"after": str(version(running))}).status_code == 200


def test_the_last_event_id_header_overrides_the_parameter(api: Any) -> None:
    job = make_job(Status.SUCCEEDED, user=api.user)
    assert api.get(events_of(job), {"after": "1"}, HTTP_LAST_EVENT_ID=str(version(job))).status_code == 204


def test_answers_vary_by_prefer_even_without_that_header(api: Any) -> None:
    job = make_job(user=api.user)
    for answer in (
        api.get(f"/api/v1/jobs/{job.pk}/"),
        api.get(f"/api/v1/jobs/{job.pk}/", HTTP_IF_NONE_MATCH="*"),
        api.post("/api/v1/jobs/", {"kind": "demo.countdown", "params": {"seconds": 0}}),
    ):
        assert "Prefer" in answer["Vary"]
        assert "Preference-Applied" not in answer


# --- versions ------------------------------------------------------------------------------------------------------


def test_every_change_that_a_client_can_see_raises_the_version() -> None:
    job = make_job(Status.QUEUED)
    seen = [version(job)]
    [claimed] = claim_jobs(WORKER)
    seen.append(version(job))
    claimed.progress = {"percent": 50, "message": "half"}
    Job.objects.show_progress(WORKER, [claimed])
    seen.append(version(job))
    Job.objects.get(pk=job.pk).cancel()
    seen.append(version(job))
    claimed.fail(make_error())
    seen.append(version(job))
    Job.objects.get(pk=job.pk).restart()
    seen.append(version(job))
    [claimed] = claim_jobs(WORKER)
    Job.objects.succeed_many(WORKER, [(claimed, None)])
    seen.append(version(job))
    assert seen == sorted(set(seen))


def test_the_renewal_of_a_lease_is_no_change() -> None:
    job = make_job(Status.RUNNING)
    before = version(job)
    Job.objects.renew_leases(WORKER, [job])
    Job.objects.show_progress(WORKER, [job])
    assert version(job) == before


def test_a_version_from_the_future_still_grows() -> None:
    job = make_job(Status.QUEUED, version=2**60)
    Job.objects.filter(pk=job.pk).update(priority=1)
    assert version(job) == 2**60 + 1


def test_versions_of_different_jobs_can_be_compared() -> None:
    early = make_job(Status.QUEUED)
    late = make_job(Status.QUEUED)
    assert version(early) < version(late)
    Job.objects.filter(pk=early.pk).update(run_at=timezone.now())
    assert version(early) > version(late)
