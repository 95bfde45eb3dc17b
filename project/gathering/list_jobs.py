"""GET jobs/ with a token and without a query, gathered: each caller's first page. The plain view: jobs/api/views.py."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.utils import timezone
from rest_framework.pagination import Cursor

from jobs.api.serializers import JOB_FIELDS, represent_job
from project.gathering import callers, databases
from project.gathering.answers import Answer
from project.gathering.callers import Caller
from project.gathering.gatherer import Gatherer
from project.gathering.heads import base_url
from project.gathering.read_job import JSON_FIELDS, decoded
from project.gathering.requests import Asked
from rest.json import dumps
from rest.pagination import MAX_PAGE_CHARACTERS, NewestFirst

JOBS = "/api/v1/jobs/"
PATH = re.compile(JOBS)
BOUND = 4
"""Pages that one statement reads at most: they may be large, and the first waits for the last."""
PAGE = NewestFirst.page_size
CHARACTERS = " + ".join(f"coalesce(length({name}::text), 0)" for name in JSON_FIELDS)
COLUMNS = ", ".join(
    f"CASE WHEN job.characters <= {MAX_PAGE_CHARACTERS} THEN job.{name} END" if name in JSON_FIELDS else f"job.{name}"
    for name in JOB_FIELDS
)
"""The JSON of a page that is too large is not read."""
STATEMENT = f"""
    SELECT asked.number, {callers.COLUMNS}, job.characters, {COLUMNS}
    FROM unnest(%s::text[]) WITH ORDINALITY AS asked (digest, number)
    {callers.JOINS}
    LEFT JOIN LATERAL (
        SELECT *, sum({CHARACTERS}) OVER () AS characters
        FROM (SELECT * FROM jobs_job WHERE user_id = owner.id ORDER BY id DESC LIMIT {PAGE + 1}) AS newest
    ) AS job ON true
"""  # noqa: S608 names of columns
WIDTH = 1 + len(Caller._fields)


class Question(NamedTuple):
    """url: of the list."""

    digest: str
    url: str


async def answer(asked: Asked, path: re.Match[str], body: bytes) -> Answer | None:
    return await pages.answer(Question(asked.digest, base_url(asked.origin) + path[0]))


def find(questions: list[Question]) -> Sequence[Answer | None]:
    """None, for the plain view: the token is invalid or over its rate limit, or the page is too large."""
    rows, now = databases.read_many(STATEMENT, [(question.digest,) for question in questions]), timezone.now()
    asking = {number: Caller(*found[0][1:WIDTH]) for number, found in rows.items()}
    fits = {number: (found[0][WIDTH] or 0) <= MAX_PAGE_CHARACTERS for number, found in rows.items()}
    users = {
        number: caller.user_id for number, caller in asking.items() if fits[number] and caller.may("GET", JOBS, now)
    }
    allowances = callers.count(users)
    answers: list[Answer | None] = [None] * len(questions)
    for number, user_id in users.items():
        if not allowances[number].is_exceeded:
            jobs = [row[WIDTH + 1 :] for row in rows[number] if row[WIDTH] is not None]
            answers[number] = Answer(200, {}, _page(jobs, questions[number].url), user_id, allowances[number])
    return answers


def _page(jobs: Sequence[Sequence[Any]], url: str) -> bytes:
    shown = [decoded(values) for values in jobs[:PAGE]]
    results = [represent_job(row, f"{url}{row['id']}/") for row in shown]
    following = _link_after(shown[-1]["id"], url) if len(jobs) > PAGE else None
    return dumps({"next": following, "previous": None, "results": results})


def _link_after(job_id: object, url: str) -> str:
    paginator = NewestFirst()
    paginator.base_url = url
    after = Cursor(0, False, str(job_id))  # type: ignore[arg-type]  # the stubs expect a number
    return str(paginator.encode_cursor(after))


pages: Gatherer[Question, Answer] = Gatherer("gathered lists", find, BOUND)
