"""POST jobs/ with a token, gathered: validated one by one, stored by one statement, answered after its commit.

The plain view: jobs/api/views.py.
"""

import re
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest
from django.utils import timezone

from jobs.api.request_parsing import parse_job
from jobs.api.serializers import job_poll_headers, job_row, represent_job
from jobs.models import Job
from jobs.submit import store_each
from project.gathering import callers, databases
from project.gathering.answers import Answer
from project.gathering.callers import Caller
from project.gathering.gatherer import Gatherer
from project.gathering.heads import base_url
from project.gathering.requests import Asked
from project.replicas.read_your_writes import record_writes
from rest import problems
from rest.json import JSONParser, dumps
from rest.throttling import Allowance
from routers import PRIMARY

PATH = re.compile("/api/v1/jobs/")
MAX_BODY = 16 * 1024
"""Bytes. Validating a larger body would make others wait."""
STATEMENT = f"""
    SELECT asked.number, {callers.COLUMNS}
    FROM unnest(%s::text[]) WITH ORDINALITY AS asked (digest, number)
    {callers.JOINS}
"""  # noqa: S608 names of columns


class Posted(NamedTuple):
    digest: str
    body: bytes
    request_id: str


class Stored(NamedTuple):
    """error: it is unknown whether the job was stored, because the database went away; None: it is."""

    job: Job
    user_id: int
    allowance: Allowance
    error: Exception | None = None


async def answer(asked: Asked, path: re.Match[str], body: bytes) -> Answer | None:
    if len(body) > MAX_BODY:
        return None
    stored = await posts.answer(Posted(asked.digest, body, asked.request_id))
    if stored is None:
        return None
    if stored.error:
        return _refusal(stored, stored.error, path[0])
    url = f"{base_url(asked.origin)}{path[0]}{stored.job.pk}/"
    row = job_row(stored.job)
    fields = {"Location": url} | job_poll_headers(row)
    return Answer(202, fields, dumps(represent_job(row, url)), stored.user_id, stored.allowance)


def _refusal(stored: Stored, error: Exception, path: str) -> Answer:
    """Not left to the plain view, which would perhaps store the job a second time."""
    request = HttpRequest()
    request.path = path
    response = problems.response_for(error, request)
    return Answer(response.status_code, dict(response.items()), response.content, stored.user_id, stored.allowance)


def store(posted: list[Posted]) -> Sequence[Stored | None]:
    """None: nothing was stored, and the plain view says why, or stores it."""
    rows, now = databases.read_before_writing(STATEMENT, [(post.digest,) for post in posted]), timezone.now()
    asking = {number: Caller(*row[1:]) for number, row in rows.items()}
    users = {number: caller.user_id for number, caller in asking.items() if caller.may_call(now)}
    jobs = {number: job for number, user_id in users.items() if (job := _parse(posted[number], user_id))}
    allowances = callers.count({number: users[number] for number in jobs})
    accepted = {number: job for number, job in jobs.items() if not allowances[number].is_exceeded}
    error = _store(list(accepted.values()))
    if settings.REPLICAS:
        record_writes({users[number] for number in accepted})
    outcomes: list[Stored | None] = [None] * len(posted)
    for number, job in accepted.items():
        outcomes[number] = Stored(job, users[number], allowances[number], error)
    return outcomes


def _parse(posted: Posted, user_id: int) -> Job | None:
    """The job, if it is one that can be stored together with others."""
    with structlog.contextvars.bound_contextvars(request_id=posted.request_id):
        try:
            data = JSONParser().parse(BytesIO(posted.body))
            job = parse_job(User(pk=user_id), data)
        except Exception:
            return None  # the plain view says what is wrong; validation has changed nothing
    shared = job.unique_key is None and job.status == Job.Status.QUEUED
    return job if shared else None


def _store(jobs: list[Job]) -> Exception | None:
    """Raises errors after which certainly nothing is stored."""
    if not jobs:
        return None
    try:
        store_each(jobs)
    except (OperationalError, InterfaceError) as error:
        connections[PRIMARY].close()
        return error
    return None


posts: Gatherer[Posted, Stored] = Gatherer("gathered posts", store)
