"""POST jobs/ with a token, gathered. The plain view: jobs/api/views.py."""

import re

from django.contrib.auth.models import User

from jobs.api.request_parsing import parse_job
from jobs.api.serializers import job_poll_headers, job_row, represent_job
from jobs.models import Job
from jobs.submit import store_many
from jobs.usage import unfinished_jobs
from project.gathering.answers import Answer
from project.gathering.gatherer import Gatherer
from project.gathering.heads import base_url
from project.gathering.posting import MAX_BODY, Posted, Posting, Stored
from project.gathering.requests import Asked
from rest.json import dumps

JOBS = "/api/v1/jobs/"
PATH = re.compile(JOBS)


async def answer(asked: Asked, path: re.Match[str], body: bytes) -> Answer | None:
    if len(body) > MAX_BODY:
        return None
    stored = await posts.answer(Posted(asked.digest, body, asked.request_id))
    if stored is None:
        return None
    if stored.error:
        return stored.refusal(stored.error, path[0])
    url = f"{base_url(asked.origin)}{path[0]}{stored.thing.pk}/"
    row = job_row(stored.thing)
    fields = {"Location": url} | job_poll_headers(row)
    return Answer(202, fields, dumps(represent_job(row, url)), stored.user_id, stored.allowance)


def parse(data: object, user: User) -> Job | None:
    job = parse_job(user, data)
    return job if job.unique_key is None and job.status == Job.Status.QUEUED else None


def insert(jobs: list[Job]) -> None:
    store_many(jobs)


posts: Gatherer[Posted, Stored] = Gatherer(
    "gathered posts of jobs", Posting(JOBS, unfinished_jobs, parse, insert).store
)
