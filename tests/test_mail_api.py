"""POST mail/messages/ and looking at what became of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework.test import APIClient

from jobs.models import Job
from mail.models import Attachment, Attempt, Event, Message
from mail.status import TERMINAL, Status
from tests.callers import assert_problem, client, make_token
from tests.mails import MESSAGES, make_message, post, url
from tests.make import make_user

pytestmark = pytest.mark.django_db

KEYS = {
    "id",
    "url",
    "to",
    "from",
    "subject",
    "importance",
    "status",
    "provider",
    "tags",
    "metadata",
    "created_at",
    "send_at",
    "expires_at",
    "sent_at",
    "finished_at",
    "opens",
    "clicks",
    "possible_duplicate",
    "failure",
    "resend_of",
    "timeline",
}


@pytest.fixture
def ada() -> User:
    return make_user()


@pytest.fixture
def api(ada: User) -> APIClient:
    return client(make_token(ada))


def test_a_message_is_accepted_with_its_address_and_its_job(api: APIClient, ada: User) -> None:
    answer = post(
        api, to="Ada <Ada@Example.org>", subject="Hi {{ name }}", text="Dear {{ name }}", context={"name": "A&B"}
    )
    assert answer.status_code == 202
    shown = answer.json()
    assert set(shown) == KEYS
    assert answer["Location"] == shown["url"]
    assert int(answer["Retry-After"]) > 0
    assert (shown["to"], shown["from"]) == ("Ada <Ada@Example.org>", "Legwork <legwork@mg.example.org>")
    assert (shown["subject"], shown["status"], shown["provider"]) == ("Hi A&B", "queued", None)
    assert [entry["type"] for entry in shown["timeline"]] == ["created"]
    message = Message.objects.get()
    assert (str(message.pk), message.user, message.address) == (shown["id"], ada, "ada@example.org")
    assert (message.text, message.html) == ("Dear A&B", "")
    job = Job.objects.get()
    assert (job.kind, job.params, job.pk) == ("mail.send", {"message": shown["id"]}, message.job_id)
    assert (job.user, job.priority) == (None, 0)
