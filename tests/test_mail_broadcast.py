"""POST mail/broadcasts/ and the job that works one off."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.registry import find
from jobs.run import Run
from mail import broadcast as broadcasting
from mail.models import Broadcast, Message, Suppression, Template
from mail.recipients import BadFile, of_csv
from tests.callers import assert_problem, client, make_token
from tests.mails import MAIL
from tests.make import make_job, make_user

pytestmark = pytest.mark.django_db

BROADCASTS = f"{MAIL}broadcasts/"


@pytest.fixture
def ada() -> User:
    return make_user()


@pytest.fixture
def api(ada: User) -> APIClient:
    Template.objects.create(
        user=ada, name="news", subject="News, {{ name }}", text="Dear {{ name }}", html="<b>{{ name }}</b>"
    )
    return client(make_token(ada))


def recipients(count: int) -> list[dict[str, Any]]:
    return [{"to": f"reader{number}@example.org", "context": {"name": f"R{number}"}} for number in range(count)]


def post(api: APIClient, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    body = {"template": "news", "recipients": recipients(3)} | fields
    return api.post(
        BROADCASTS, {name: value for name, value in body.items() if value is not ...}, headers=headers or {}
    )


def upload(api: APIClient, content: bytes | str, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    file = SimpleUploadedFile("readers.csv", content.encode() if isinstance(content, str) else content)
    return api.post(BROADCASTS, {"template": "news", "file": file} | fields, format="multipart", headers=headers or {})


def run(answer: Any) -> dict[str, Any]:
    """What the job of this answer makes of it."""
    assert answer.status_code == 202, answer.content
    job = Job.objects.get(pk=answer.json()["id"])
    return find(job.kind).handler(Run(job), **find(job.kind).arguments(job.params))


def test_a_broadcast_is_a_job_of_its_user(api: APIClient, ada: User) -> None:
    answer = post(api)
    job = Job.objects.get()
    assert (answer.status_code, answer.json()["kind"], job.user) == (202, "mail.broadcast", ada)
    assert answer["Location"] == answer.json()["url"]
    assert api.get(answer["Location"]).status_code == 200
    assert not Message.objects.exists()


def test_each_recipient_gets_a_message_of_their_own(api: APIClient, ada: User) -> None:
    result = run(post(api))
    assert result == {"rows": 3, "accepted": 3, "suppressed": 0, "refused": 0, "errors": []}
    messages = Message.objects.order_by("row")
    assert [(message.address, message.subject, message.text, message.html) for message in messages] == [
        (f"reader{n}@example.org", f"News, R{n}", f"Dear R{n}", f"<b>R{n}</b>") for n in range(3)
    ]
    assert {(message.user, message.importance, message.status) for message in messages} == {(ada, "bulk", "queued")}
    sends = Job.objects.filter(kind="mail.send")
    assert {job.pk for job in sends} == {message.job_id for message in messages}
    assert {(job.user, job.priority) for job in sends} == {(None, -10)}
    assert {job.params["message"] for job in sends} == {str(message.pk) for message in messages}
