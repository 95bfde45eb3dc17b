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
from project.gathering.posting import Posted, Posting, Shown
from project.gathering.requests import Asked
from rest.json import dumps

PATH = re.compile("/api/v1/jobs/")


async def answer(asked: Asked, path: re.Match[str], body: bytes) -> Answer | None:
    posted = Posted.of(asked, path[0], body)
    return posted and await posts.answer(posted)


def parse(data: object, user: User) -> Job | None:
    job = parse_job(user, data)
    return job if job.unique_key is None and job.status == Job.Status.QUEUED else None


def insert(jobs: list[Job]) -> None:
    store_many(jobs)


def show(job: Job, jobs_url: str) -> Shown:
    url, row = f"{jobs_url}{job.pk}/", job_row(job)
    return Shown({"Location": url} | job_poll_headers(row), dumps(represent_job(row, url)))


posts: Gatherer[Posted, Answer] = Gatherer(
    "gathered posts of jobs", Posting(unfinished_jobs, parse, insert, show).store
)
