"""The schema is generated once, even if the first requests for it come at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from django.http import HttpResponse
from django.test import Client

from jobs.api import params_schema
from jobs.registry import kinds
from project.api import docs

AT_ONCE = 6


def test_the_first_requests_for_schemas_may_come_at_once() -> None:
    """drf-spectacular is not thread-safe: without a lock some of them got 500."""
    docs._generated.cache_clear()
    params_schema._generated.cache_clear()
    start = Barrier(AT_ONCE)

    def ask(number: int) -> HttpResponse:
        start.wait()
        for kind in kinds() if number % 2 else ():
            params_schema.params_schema(kind)
        return Client().get("/api/v1/schema/")

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(ask, range(AT_ONCE)))
    assert [answer.status_code for answer in answers] == [200] * AT_ONCE
    assert len({answer.content for answer in answers}) == 1
    assert docs._generated.cache_info().misses == 1
