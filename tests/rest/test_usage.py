"""Quotas: what each user and all together may have, and what a batch costs."""

import queue
import threading
import time
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from demo.eventually import eventually
from jobs.models import Job
from jobs.models.states import Status
from jobs.usage import unfinished_jobs
from mail.models import Message, Template
from mail.usage import unsent_messages
from project.models import Token
from rest.throttling import network_of
from rest.usage import Full, QuotaExceeded, Usage
from tests.support.api_clients import assert_problem, client, log_in, make_token, make_user
from tests.support.factories import make_job
from tests.support.mail.messages import MESSAGES, MINIMAL, make_message, post_batch
from tests.support.timeouts import PATIENCE

pytest_plugins = ["tests.support.api_fixtures"]

JOBS, LIMITS = "/api/v1/jobs/", "/api/v1/limits/"
COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 0}}


@pytest.fixture
def counting() -> tuple[Usage, dict[int | None, int], list[int]]:
    """A usage with room for 3 per user and 5 in all, what the database would count, and an entry for each count."""
    found: dict[int | None, int] = {}
    counts: list[int] = []

    def count() -> Counter[int | None]:
        counts.append(1)
        return Counter(found)

    return Usage("things", count, lambda: 3, lambda: 5), found, counts


def test_uses_since_the_last_count_are_added_to_it(counting: Any) -> None:
    usage, _, counts = counting
    for _ in range(3):
        usage.take(1)
    with pytest.raises(QuotaExceeded):
        usage.take(1)
    usage.take(2, 2)
    with pytest.raises(Full):
        usage.take(2)
    assert len(counts) <= 3


def test_a_user_is_not_refused_on_an_old_count(counting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, found, counts = counting
    found[1] = 3
    with pytest.raises(QuotaExceeded):
        usage.take(1)
    found[1] = 0
    usage._counted_at -= 0.5  # not stale, but old enough to be counted again before a refusal
    usage.take(1)
    assert len(counts) == 2


def test_counting_takes_a_small_share_of_the_time(counting: Any) -> None:
    usage, _, counts = counting
    usage.take(1)
    usage._took = 10.0
    usage._counted_at -= 100
    assert not usage.is_stale()
    usage.take(2)
    assert len(counts) == 1


def test_while_one_thread_counts_the_others_use_the_latest_count(counting: Any) -> None:
    usage, _, counts = counting
    usage.count()
    with usage._counting:
        thread = threading.Thread(target=usage.count)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert len(counts) == 1


def test_a_request_does_not_wait_for_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest.usage.WAIT_AFTER", 3600.0)
    answers = queue.Queue[dict[int | None, int]]()
    usage = Usage("things", lambda: answers.get(timeout=PATIENCE), lambda: 3, lambda: 5)
    answers.put({1: 1})
    usage.take(1)
    usage._counted_at = time.monotonic() - 10
    usage.take(1)  # by the latest count; another one has begun, and there is no answer yet
    answers.put({1: 0})
    eventually(lambda: usage.used_by(1) == 0, PATIENCE, "the count")


def test_a_count_that_fails_beside_requests_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rest.usage.WAIT_AFTER", 3600.0)
    answers = iter([lambda: {1: 3}, lambda: 1 // 0, lambda: {1: 1}])
    usage = Usage("things", lambda: next(answers)(), lambda: 3, lambda: 5)
    assert usage.used_by(1) == 3
    usage._counted_at = time.monotonic() - 10
    eventually(lambda: usage.used_by(1) == 1, PATIENCE, "the third count")


@pytest.mark.django_db
def test_jobs_and_messages_are_counted_while_unfinished(ada: User) -> None:
    for status in Status:
        make_job(status, user=ada)
    make_job(user=None)
    for status in ("scheduled", "queued", "sending", "sent", "delivered"):
        make_message(status, user=ada)
    assert (unfinished_jobs.used_by(ada.pk), unfinished_jobs.used_by(None)) == (4, 1)
    assert unsent_messages.used_by(ada.pk) == 3


@pytest.mark.django_db
def test_a_user_with_too_many_jobs_is_refused_and_others_are_not(api: APIClient, settings: Any) -> None:
    settings.MAX_QUEUED_JOBS = 2
    assert [api.post(JOBS, COUNTDOWN).status_code for _ in range(3)] == [202, 202, 429]
    answer = api.post(JOBS, COUNTDOWN)
    assert assert_problem(answer, 429)["code"] == "quota_exceeded"
    assert int(answer["Retry-After"]) > 0
    assert assert_problem(api.post(f"{JOBS}batch/", {"jobs": [COUNTDOWN]}), 429)["code"] == "quota_exceeded"
    assert client(make_token(make_user("eve"))).post(JOBS, COUNTDOWN).status_code == 202
    assert Job.objects.count() == 3


@pytest.mark.django_db
def test_a_full_queue_is_503_for_all(api: APIClient, settings: Any) -> None:
    settings.MAX_QUEUED_JOBS_TOTAL = 1
    assert api.post(JOBS, COUNTDOWN).status_code == 202
    answer = client(make_token(make_user("eve"))).post(JOBS, COUNTDOWN)
    assert assert_problem(answer, 503)["code"] == "queue_full"
    assert int(answer["Retry-After"]) > 0


@pytest.mark.django_db
def test_a_user_with_too_many_unsent_messages_is_refused(api: APIClient, settings: Any) -> None:
    settings.MAX_UNSENT_MESSAGES = 2
    assert [api.post(MESSAGES, MINIMAL).status_code for _ in range(3)] == [202, 202, 429]
    assert post_batch(api, MINIMAL, MINIMAL).status_code == 429
    assert Message.objects.count() == 2


@pytest.mark.django_db
def test_templates_and_tokens_are_bounded(api: APIClient, settings: Any, ada: User) -> None:
    settings.MAX_TEMPLATES, settings.MAX_TOKENS = 1, 2
    content = {"subject": "Hi", "text": "There"}
    assert api.put("/api/v1/mail/templates/a/", content).status_code == 201
    assert api.put("/api/v1/mail/templates/a/", content).status_code == 200
    assert api.put("/api/v1/mail/templates/b/", content).status_code == 429
    assert api.post("/api/v1/mail/templates/", content | {"name": "b"}).status_code == 429
    assert Template.objects.count() == 1
    assert [log_in().status_code for _ in range(2)] == [201, 429]
    assert Token.objects.count() == 2


@pytest.mark.django_db
def test_a_batch_costs_as_many_requests_as_it_has_items(api: APIClient, settings: Any) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 10
    answer = api.post(f"{JOBS}batch/", {"jobs": [COUNTDOWN] * 7})
    assert (answer.status_code, answer["RateLimit-Policy"]) == (202, '"default";q=10;w=60')
    assert answer["RateLimit"].startswith('"default";r=3;t=')
    refused = api.post(f"{JOBS}batch/", {"jobs": [COUNTDOWN] * 4})
    assert assert_problem(refused, 429)["code"] == "rate_limited"
    assert api.post(f"{JOBS}batch/", {"jobs": [COUNTDOWN] * 2}).status_code == 202, "the refused batch cost one request"


@pytest.mark.django_db
def test_a_broadcast_leaves_its_user_half_of_a_minutes_requests(api: APIClient, settings: Any, ada: User) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 10
    Template.objects.create(user=ada, name="hello", subject="Hi", text="There")
    recipients = [{"to": f"a{number}@example.org"} for number in range(100)]
    answer = api.post("/api/v1/mail/broadcasts/", {"template": "hello", "recipients": recipients})
    assert (answer.status_code, answer["RateLimit"][:14]) == (202, '"default";r=5;')


@pytest.mark.django_db
def test_limits_shows_use_and_bounds(api: APIClient, ada: User, settings: Any) -> None:
    make_job(user=ada)
    limits = api.get(LIMITS).json()
    shown = {limit["name"]: (limit["used"], limit["limit"]) for limit in limits["results"]}
    assert shown["jobs"] == (1, settings.MAX_QUEUED_JOBS)
    assert shown["requests"] == (1, settings.RATE_LIMIT_PER_MINUTE)
    assert shown["tokens"] == (1, settings.MAX_TOKENS)
    assert set(shown) == {"requests", "jobs", "messages", "templates", "tokens", "output_bytes", "watches"}
    assert limits["calls_per_host"] == settings.MAX_CALLS_PER_HOST


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("nonsense", "nonsense"),
        ("x" * 1000, "x" * 100),
    ],
)
def test_an_ipv6_network_is_one_client(address: str, network: str) -> None:
    assert network_of(address) == network
