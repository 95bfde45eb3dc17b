"""Decides which requests are gathered, and sends their answers; all others go to the plain views.

A gathered answer is the one that the plain view would give: tests/project/gathering compares them byte by byte.
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from a2wsgi.asgi_typing import HTTPScope, Receive, Send

from project.gathering import databases, read_job
from project.gathering.answers import Answer
from project.gathering.heads import Heads, encoded
from project.gathering.requests import Asked, understand
from project.middleware import log_access, request_id

App = Callable[[HTTPScope, Receive, Send], Awaitable[None]]


class Call(NamedTuple):
    """One sort of gathered request. answer: None leaves the request to the plain view, which has an answer for all."""

    path: re.Pattern[str]
    answer: Callable[[Asked, re.Match[str]], Awaitable[Answer | None]]


READ_JOB = Call(read_job.PATH, read_job.answer)

heads: Heads[Call] = Heads()


async def serve(scope: HTTPScope, receive: Receive, send: Send, plain: App) -> None:
    """Answers the request, if necessary by `plain`."""
    path = READ_JOB.path.fullmatch(scope["path"]) if scope["method"] == "GET" else None
    asked = understand(scope) if path else None
    if path is None or asked is None or not databases.is_possible():
        return await plain(scope, receive, send)
    statuses = (200, 304) if asked.known else (200,)
    if not all(heads.fields(READ_JOB, asked.origin, status) for status in statuses):
        return await plain(scope, receive, heads.learn_from(send, READ_JOB, asked.origin, statuses))
    started = time.perf_counter()
    answer = await READ_JOB.answer(asked, path)
    if answer is None:
        return await plain(scope, receive, send)
    await _send(scope, send, READ_JOB, asked, answer, started)


async def _send(scope: HTTPScope, send: Send, call: Call, asked: Asked, answer: Answer, started: float) -> None:
    this_id = request_id(asked.request_id)
    length = {"Content-Length": str(len(answer.body)), "X-Request-ID": this_id}
    fields = {**answer.fields, **answer.allowance.headers(), **length}
    headers = [*(heads.fields(call, asked.origin, answer.status) or ()), *encoded(fields)]
    log_access(scope["method"], scope["path"], answer.status, started, answer.user_id, request_id=this_id)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
