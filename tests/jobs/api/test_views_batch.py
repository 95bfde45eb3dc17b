"""Many jobs at once: POST jobs/batch/ and submit_many()."""

from typing import Any

import pytest
from django.db import OperationalError
from rest_framework.exceptions import ValidationError
from rest_framework.test import APIClient

from jobs.api import request_parsing
from jobs.models import Job
from jobs.models.states import Status
from jobs.registry import UnknownKind
from jobs.submit import submit, submit_many
from tests.support.api_clients import make_user
from tests.support.claims import claim_jobs

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db(transaction=True)

GOOD = {"kind": "demo.countdown", "params": {"seconds": 0}}


def post(api: APIClient, *jobs: Any, **headers: Any) -> Any:
    return api.post("/api/v1/jobs/batch/", {"jobs": list(jobs)}, format="json", **headers)


def test_a_batch_is_answered_in_its_order_and_a_bad_job_is_refused_alone(api: APIClient) -> None:
    answer = post(api, GOOD, {"kind": "no.such"}, 5, {**GOOD, "priority": 3}, {**GOOD, "params": {"seconds": -1}})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["refused"]) == (2, 3)
    assert [sorted(each) for each in body["results"]] == [
        ["id", "url"],
        ["errors"],
        ["errors"],
        ["id", "url"],
        ["errors"],
    ]
    assert body["results"][1]["errors"][0]["field"] == "kind"
    assert body["results"][4]["errors"][0]["field"] == "params.seconds"
    stored = {str(job.pk): job.priority for job in Job.objects.all()}
    assert stored == {body["results"][0]["id"]: 0, body["results"][3]["id"]: 3}


def test_a_unique_key_counts_within_a_batch_too(api: APIClient) -> None:
    body = post(api, {**GOOD, "unique_key": "a"}, {**GOOD, "unique_key": "a"}, {**GOOD, "unique_key": "b"}).json()
    assert (body["accepted"], body["refused"]) == (2, 1)
    assert body["results"][1]["errors"] == [
        {"field": "unique_key", "code": "conflict", "detail": body["results"][1]["errors"][0]["detail"]}
    ]


def test_a_batch_that_fails_halfway_stores_nothing(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    store = request_parsing.store

    def fail_at_b(job: Job) -> None:
        if job.unique_key == "b":
            raise OperationalError("the database went away")
        store(job)

    monkeypatch.setattr(request_parsing, "store", fail_at_b)
    jobs = [GOOD, {**GOOD, "unique_key": "a"}, {**GOOD, "unique_key": "b"}]
    assert post(api, *jobs).status_code == 503
    assert Job.objects.count() == 0
    monkeypatch.setattr(request_parsing, "store", store)
    assert post(api, *jobs).json()["accepted"] == 3


def test_batches_lock_their_unique_keys_in_sorted_order_to_avoid_deadlocks(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []
    store = request_parsing.store
    monkeypatch.setattr(request_parsing, "store", lambda job: (taken.append(job.unique_key), store(job)))
    body = post(api, *[{**GOOD, "unique_key": key} for key in "cabc"]).json()
    assert taken == ["a", "b", "c", "c"]
    assert ["id" in each for each in body["results"]] == [True, True, True, False]


@pytest.mark.parametrize("jobs", [[], [GOOD] * 501, None, "x", {}])
def test_an_invalid_batch_is_refused_as_a_whole(api: APIClient, jobs: Any) -> None:
    answer = api.post("/api/v1/jobs/batch/", {"jobs": jobs}, format="json")
    assert answer.status_code == 400
    assert Job.objects.count() == 0


def test_the_same_batch_with_the_same_key_is_accepted_once(api: APIClient) -> None:
    first = post(api, GOOD, GOOD, HTTP_IDEMPOTENCY_KEY="k")
    second = post(api, GOOD, GOOD, HTTP_IDEMPOTENCY_KEY="k")
    assert first.content == second.content
    assert second["Idempotency-Replayed"] == "true"
    assert Job.objects.count() == 2


def test_five_hundred_jobs_cost_few_statements(api: APIClient, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(8):
        assert post(api, *[GOOD] * 500).json()["accepted"] == 500


def test_a_past_run_at_puts_no_job_of_a_batch_before_jobs_created_earlier(api: APIClient) -> None:
    first = submit("demo.countdown", {"seconds": 0})
    [posted] = post(api, {**GOOD, "run_at": "0001-01-01T00:00:00Z"}).json()["results"]
    assert [str(claim_jobs("here:1")[0].pk) for _ in range(2)] == [str(first.pk), posted["id"]]


def test_submit_many_stores_what_submit_would_store() -> None:
    user = make_user("bob")
    one = submit("demo.countdown", {"seconds": 7}, user=user, priority=2, max_attempts=5)
    [pk] = submit_many("demo.countdown", [{"seconds": 7}], user=user, priority=2, max_attempts=5)
    differ = {"id", "created_at", "run_at", "version"}
    first, second = [
        {name: value for name, value in Job.objects.values().get(pk=each).items() if name not in differ}
        for each in (one.pk, pk)
    ]
    assert first == second
    assert Job.objects.get(pk=pk).status == Status.QUEUED


def test_submit_many_stores_thousands_in_few_statements(django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(60):
        ids = submit_many("demo.countdown", ({"seconds": n % 60} for n in range(2000)))
    assert len(set(ids)) == 2000
    assert Job.objects.get(pk=ids[61]).params == {"seconds": 1}


def test_submit_many_is_all_or_nothing_and_names_the_bad_item() -> None:
    with pytest.raises(ValidationError) as error:
        submit_many("demo.countdown", [{"seconds": 1}, {"seconds": -1}])
    assert "1" in error.value.detail
    with pytest.raises(UnknownKind):
        submit_many("no.such", [{}])
    assert submit_many("demo.countdown", []) == []
    assert Job.objects.count() == 0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_submit_many_takes_no_unique_key(count: int) -> None:
    with pytest.raises(TypeError, match="unique_key"):
        submit_many("demo.countdown", [{"seconds": 1}] * count, unique_key="a")  # type: ignore[call-arg]
    assert Job.objects.count() == 0
