"""GET jobs/{id}/ for a token, gathered: token, user and job in one statement. The plain view: jobs/api/views.py."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from django.db.models import JSONField
from django.utils import timezone

from jobs.api.serializers import JOB_FIELDS, job_poll_headers, represent_job
from jobs.models import Job
from jobs.models.digest import RowDigest
from project.gathering import callers, databases
from project.gathering.answers import Answer
from project.gathering.callers import Caller
from project.gathering.gatherer import Gatherer
from project.gathering.heads import base_url
from project.gathering.requests import Asked
from rest.json import dumps
from rest.throttling import Allowance

PATH = re.compile(r"/api/v1/jobs/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/")

JSON_FIELDS = [name for name in JOB_FIELDS if isinstance(Job._meta.get_field(name), JSONField)]
DIGEST = RowDigest.template % {"expressions": ", ".join(f"job.{name}" for name in JOB_FIELDS)}
COLUMNS = ", ".join(
    f"CASE WHEN tag.value <> asked.known THEN job.{name} END" if name in JSON_FIELDS else f"job.{name}"
    for name in JOB_FIELDS
)
"""JSON, which may be large, is not read for a client that knows the present state."""
STATEMENT = f"""
    SELECT asked.number, {callers.COLUMNS}, tag.value, {COLUMNS}
    FROM unnest(%s::text[], %s::uuid[], %s::text[]) WITH ORDINALITY AS asked (digest, job_id, known, number)
    {callers.JOINS}
    JOIN jobs_job AS job ON job.id = asked.job_id AND job.user_id = owner.id
    CROSS JOIN LATERAL (SELECT {DIGEST} AS value OFFSET 0) AS tag
"""  # noqa: S608 names of columns
"""OFFSET 0 keeps PostgreSQL from computing the digest at each of its mentions."""

JOBS = "/api/v1/jobs/"
WIDTH = 1 + len(Caller._fields)
"""Columns before those of the job."""


class Question(NamedTuple):
    """The parts of STATEMENT's arrays."""

    digest: str
    job_id: str
    known: str


class Found(NamedTuple):
    """A job of the token's user. values: by JOB_FIELDS, with JSON as text, and without it if the ETag is known."""

    user_id: int
    etag: str
    values: Sequence[Any]
    allowance: Allowance


async def answer(asked: Asked, path: re.Match[str], body: bytes) -> Answer | None:
    found = await jobs.answer(Question(asked.digest, path[1], asked.known))
    if found is None:
        return None
    row = decoded(found.values)
    fields = {"ETag": f'"{found.etag}"'} | job_poll_headers(row)
    if found.etag == asked.known:
        return Answer(304, fields, b"", found.user_id, found.allowance)
    shown = dumps(represent_job(row, base_url(asked.origin) + path[0]))
    return Answer(200, fields, shown, found.user_id, found.allowance)


def decoded(values: Sequence[Any]) -> dict[str, Any]:
    """A row of JOB_FIELDS, whose JSON is text as it comes from the driver."""
    row = dict(zip(JOB_FIELDS, values, strict=True))
    for name in JSON_FIELDS:
        row[name] = row[name] and orjson.loads(row[name])
    return row


def find(questions: list[Question]) -> Sequence[Found | None]:
    """None: the token is invalid or over its rate limit, or the user has no such job; the plain view says which."""
    rows, now = databases.read(STATEMENT, questions), timezone.now()
    asking = {number: Caller(*row[1:WIDTH]) for number, row in rows.items()}
    users = {number: caller.user_id for number, caller in asking.items() if caller.may("GET", JOBS, now)}
    allowances = callers.count(users)
    found: list[Found | None] = [None] * len(questions)
    for number, user_id in users.items():
        if not allowances[number].is_exceeded:
            etag, *values = rows[number][WIDTH:]
            found[number] = Found(user_id, etag, values, allowances[number])
    return found


jobs: Gatherer[Question, Found] = Gatherer("gathered jobs", find)
