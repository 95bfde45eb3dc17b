"""Decides which requests are gathered, and sends their answers; all others go to the plain views.

A gathered answer is the one that the plain view would give: tests/project/gathering compares them byte by byte.
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from a2wsgi.asgi_typing import HTTPScope, Receive, Send

from project.gathering import databases, list_jobs, post_job, post_message, read_job
from project.gathering.answers import Answer
from project.gathering.heads import Fields, Heads, encoded, fields_for
from project.gathering.requests import Asked, understand_get, understand_post
from project.middleware import log_access, logged_client
from rest.requests.body import BodyShare
from rest.throttling import address_in

App = Callable[[HTTPScope, Receive, Send], Awaitable[None]]


class Call(NamedTuple):
    """One sort of gathered request. answer: returns None to leave a request to the plain view, which can answer all.

    status: of a success.
    """

    method: str
    path: re.Pattern[str]
    status: int
    answer: Callable[[Asked, re.Match[str], bytes], Awaitable[Answer | None]]


CALLS = (
    Call("GET", read_job.PATH, 200, read_job.answer),
    Call("GET", list_jobs.PATH, 200, list_jobs.answer),
    Call("POST", post_job.PATH, 202, post_job.answer),
    Call("POST", post_message.PATH, 202, post_message.answer),
)

heads: Heads[Call] = Heads()


async def serve(scope: HTTPScope, receive: Receive, send: Send, plain: App, share: BodyShare | None = None) -> None:
    """Answers the request, if necessary by `plain`. share: of a request with a body, which has been read."""
    call, path = _call(scope["method"], scope["path"])
    body = share.body if share else b""
    if call is None or path is None or bool(body) is not (call.method == "POST") or not databases.is_possible():
        return await plain(scope, receive, send)
    asked = understand_post(scope) if body else understand_get(scope)
    if asked is None:
        return await plain(scope, receive, send)
    statuses = (call.status, 304) if asked.known else (call.status,)
    learnt = heads.of(call, asked.origin)
    if not learnt.keys() >= {*statuses}:
        return await plain(scope, receive, heads.learn_from(send, call, asked.origin, statuses))
    started = time.perf_counter()
    answer = await call.answer(asked, path, body)
    if answer is None:
        return await plain(scope, receive, send)
    await _send(scope, send, fields_for(learnt, answer.status, call.status), asked, answer, started)


def _call(method: str, path: str) -> tuple[Call, re.Match[str]] | tuple[None, None]:
    for call in CALLS:
        if call.method == method and (match := call.path.fullmatch(path)):
            return call, match
    return None, None


async def _send(scope: HTTPScope, send: Send, head: Fields, asked: Asked, answer: Answer, started: float) -> None:
    fields = {**answer.fields, **answer.allowance.headers(), "X-Request-ID": asked.request_id}
    fields["Content-Length"] = str(len(answer.body))
    headers = [*head, *encoded(fields)]
    client = logged_client(address_in(scope))
    more = {"request_id": asked.request_id, "client": client}
    log_access(scope["method"], scope["path"], answer.status, started, answer.user_id, **more)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
