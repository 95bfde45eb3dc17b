"""What tests of broadcasts start from: a template, recipients as a list or a file, and the job run in this process."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.registry import find_kind
from jobs.run import Run
from mail.models import Template
from tests.support.mail.messages import MAIL

BROADCASTS = f"{MAIL}broadcasts/"


def make_template(user: User) -> Template:
    return Template.objects.create(
        user=user, name="news", subject="News, {{ name }}", text="Dear {{ name }}", html="<b>{{ name }}</b>"
    )


def allow_normal(user: User) -> None:
    user.user_permissions.add(Permission.objects.get(codename="broadcast_normal"))


def recipients(count: int) -> list[dict[str, Any]]:
    return [{"to": f"reader{number}@example.org", "context": {"name": f"R{number}"}} for number in range(count)]


def post(api: APIClient, headers: dict[str, str] | None = None, /, **fields: Any) -> Any:
    body = {"template": "news", "recipients": recipients(3)} | fields
    return api.post(
        BROADCASTS, {name: value for name, value in body.items() if value is not ...}, headers=headers or {}
    )


def upload(api: APIClient, content: bytes | str, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    file = SimpleUploadedFile("readers.csv", content.encode() if isinstance(content, str) else content)
    return api.post(BROADCASTS, {"template": "news", "file": file} | fields, format="multipart", headers=headers or {})


def run(answer: Any) -> dict[str, Any]:
    """Run the job of this answer in this process; returns its result."""
    assert answer.status_code == 202, answer.content
    job = Job.objects.get(pk=answer.json()["id"])
    return find_kind(job.kind).handler(Run(job), **find_kind(job.kind).handler_arguments(job.params))
