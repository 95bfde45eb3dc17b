"""POST mail/messages/batch/: many messages at once."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from rest_framework.test import APIClient

from jobs.models import Job
from mail.api import request_parsing
from mail.models import Attachment, Message, Template
from tests.support.api_clients import assert_problem
from tests.support.factories import make_user
from tests.support.mail.messages import BATCH, MINIMAL, post_batch

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

FILE = {"filename": "a.txt", "content": "SGk="}


def test_a_batch_is_answered_in_its_order_and_a_bad_message_sinks_no_other(api: APIClient) -> None:
    later = MINIMAL | {"send_at": "2100-01-01T00:00:00Z", "attachments": [FILE]}
    answer = post_batch(api, MINIMAL, {"to": "nobody"}, 5, later, MINIMAL | {"text": "{% if %}"}, None)
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["refused"]) == (202, 2, 4)
    assert [sorted(each) for each in body["results"]] == [["id", "url"]] + [["errors"]] * 2 + [["id", "url"]] + [
        ["errors"]
    ] * 2
    assert body["results"][4]["errors"][0]["field"] == "text"
    stored = {str(message.pk): message for message in Message.objects.all()}
    assert stored.keys() == {body["results"][0]["id"], body["results"][3]["id"]}
    second = stored[body["results"][3]["id"]]
    assert (second.status, Attachment.objects.get().message) == ("scheduled", second)
    assert {job.pk: job.status for job in Job.objects.all()} == {
        message.job_id: message.status for message in stored.values()
    }
    assert api.get(body["results"][0]["url"]).status_code == 200


def test_five_hundred_messages_cost_few_statements(
    api: APIClient, django_assert_max_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    Template.objects.create(user=make_user("grace"), name="t", subject="S", text="T")
    with django_assert_max_num_queries(8):
        body = post_batch(api, *[MINIMAL] * 499, MINIMAL | {"template": "t", "text": None}).json()
    assert (body["accepted"], body["refused"]) == (499, 1)
    assert Message.objects.count() == Job.objects.count() == 499


@pytest.mark.parametrize("messages", [[], [MINIMAL] * 501, None, "x", {}])
def test_an_invalid_batch_is_refused_as_a_whole(api: APIClient, messages: Any) -> None:
    assert_problem(api.post(BATCH, {"messages": messages}), 400)


def test_a_batch_of_bad_messages_only_is_answered_like_any_other(api: APIClient) -> None:
    assert post_batch(api, 1, 2).json()["refused"] == 2


def test_the_same_key_makes_one_batch(api: APIClient) -> None:
    first, second = (post_batch(api, MINIMAL, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert first.content == second.content
    assert Message.objects.count() == 1


def test_slow_templates_of_a_batch_share_one_limit_of_time(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_parsing, "BATCH_RENDER_SECONDS", 0.2)
    slow = "{% for x in a %}{% for y in a %}{% for z in a %}.{% endfor %}{% endfor %}{% endfor %}"
    begun = time.thread_time()
    body = post_batch(api, *[MINIMAL | {"text": slow, "context": {"a": [1] * 300}}] * 100).json()
    assert body["refused"] == 100
    assert time.thread_time() - begun < 12
