"""Traces of requests and of the jobs that they submit. Off unless settings.TRACING: then nothing is written or read.

The traceparent (W3C Trace Context) of a request is kept with its jobs, and that of an attempt with the jobs which it
submits. jobs/worker/attempts/spans.py makes a span of each attempt; it is imported only while tracing is on.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings

from jobs.models import Trace

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""Of version 00, the only one so far. Any other value is ignored."""

_traceparent: ContextVar[str] = ContextVar("traceparent", default="")

attempt_span: Callable[[Any], AbstractContextManager[object]] = nullcontext
"""The span of an attempt at a Job, while the block runs."""


def start() -> None:
    """Called once the apps are loaded."""
    global attempt_span
    if settings.TRACING:
        attempt_span = import_module("jobs.worker.attempts.spans").attempt_span


def stop() -> None:
    """Export what is not exported yet, before this process ends."""
    if settings.TRACING:
        import_module("jobs.worker.attempts.spans").flush()


@contextmanager
def following(traceparent: str | None) -> Iterator[None]:
    """What is submitted in this block belongs to this trace; to none if the traceparent is missing or malformed."""
    valid = traceparent if settings.TRACING and traceparent and TRACEPARENT.fullmatch(traceparent) else ""
    before = _traceparent.set(valid)
    try:
        yield
    finally:
        _traceparent.reset(before)


def keep(job_ids: Iterable[UUID]) -> None:
    """Keep the traceparent of what runs now with jobs that are about to be stored."""
    if traceparent := _traceparent.get():
        Trace.objects.bulk_create([Trace(job_id=pk, traceparent=traceparent) for pk in job_ids])
