"""A client of the API that sends requests at fixed intervals. A slow answer also counts for the requests it delays."""

import http.client
import time
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from demo.client import UnexpectedAnswerError

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and the status that its answer must have."""

    method: str
    path: str
    status: int
    body: str | None = None


def ask(url: str, token: str, question: Question, rate: float, seconds: float) -> list[float]:
    """Ask `rate` times a second over one connection; returns how many seconds each answer took.

    A request that a slow answer has delayed is timed from when it was due. Raises UnexpectedAnswerError.
    """
    at = urlsplit(url)
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
    times: list[float] = []
    with closing(http.client.HTTPConnection(at.hostname or "", at.port, timeout=PATIENCE)) as connection:
        began = time.monotonic()
        for number in range(round(rate * seconds)):
            due = began + number / rate
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
                due = time.monotonic()
            connection.request(question.method, question.path, question.body, headers)
            answer = connection.getresponse()
            text = answer.read()
            times.append(time.monotonic() - due)
            if answer.status != question.status:
                raise UnexpectedAnswerError(f"{question.method} {question.path}: {answer.status}, {text[:500]!r}")
    return times
