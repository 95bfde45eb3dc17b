"""Spans of attempts for OpenTelemetry, sent over OTLP/HTTP. Imported only with settings.TRACING (jobs/tracing.py).

The first attempt is a child of the request that submitted the job. A retry may start days later, so it begins a trace
of its own with links to the request and to the attempt before it, whose ids follow from the job's: nothing is stored
for them.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from jobs.models import Job, Trace
from jobs.tracing import following
from jobs.worker.attempts.interrupt import Cancelled, Stopped
from rest import outage

log = structlog.get_logger(__name__)

FLUSH_WITHIN = 2.0
"""Seconds that a process which ends may take to export its last spans."""

_making = threading.Lock()
_next_ids: ContextVar[SpanContext | None] = ContextVar("next_ids", default=None)


class AttemptIds(RandomIdGenerator):
    """The ids that the next span is to have; random ones for spans that handlers make."""

    def generate_trace_id(self) -> int:
        ids = _next_ids.get()
        return ids.trace_id if ids else super().generate_trace_id()

    def generate_span_id(self) -> int:
        ids = _next_ids.get()
        return ids.span_id if ids else super().generate_span_id()


@contextmanager
def attempt_span(job: Job) -> Iterator[None]:
    """An attempt that was stopped is not exported: it does not count, and its number is used again."""
    span = _start(job)
    with following(_traceparent_of(span.get_span_context())), trace.use_span(span, end_on_exit=False):
        try:
            yield
        except Stopped:
            raise
        except Cancelled:
            span.set_attribute("legwork.job.cancelled", True)
            span.end()
            raise
        except BaseException as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            span.end()
            raise
        span.end()


def flush() -> None:
    """Export what is not exported yet, within FLUSH_WITHIN seconds: the collector may not answer."""
    if _make_provider.cache_info().currsize:
        thread = threading.Thread(target=_provider().shutdown, name="last spans", daemon=True)
        thread.start()
        thread.join(FLUSH_WITHIN)


def _start(job: Job) -> Span:
    request = _request_of(job)
    is_retry = job.attempt > 1
    links = [Link(_context_of(job, job.attempt - 1, request))] if is_retry else []
    if is_retry and request:
        links.append(Link(request))
    parent = trace.set_span_in_context(NonRecordingSpan(request), Context()) if request and not is_retry else Context()
    before = _next_ids.set(_context_of(job, job.attempt, request))
    try:
        return (
            _provider()
            .get_tracer("legwork")
            .start_span(
                f"job {job.kind}",
                context=parent,
                kind=SpanKind.CONSUMER,
                links=links,
                attributes={
                    "legwork.job.id": str(job.pk),
                    "legwork.job.kind": job.kind,
                    "legwork.job.queue": job.queue,
                    "legwork.job.attempt": job.attempt,
                    "legwork.request_id": job.request_id,
                },
            )
        )
    finally:
        _next_ids.reset(before)


def _request_of(job: Job) -> SpanContext | None:
    """The span that submitted the job; None if it is not known."""
    try:
        kept = Trace.objects.filter(pk=job.pk).values_list("traceparent", flat=True).first()
    except (DatabaseError, InterfaceError) as error:  # the attempt does not depend on it
        if not outage.database.note(error):
            log.warning("trace_not_read", exc_info=True)
        return None
    if not kept:
        return None
    _, trace_id, span_id, flags = kept.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _context_of(job: Job, attempt: int, request: SpanContext | None) -> SpanContext:
    """The ids of this attempt's span."""
    digest = hashlib.sha256(f"{job.pk} {attempt}".encode()).digest()
    trace_id, flags = int.from_bytes(digest[:16]), TraceFlags(TraceFlags.SAMPLED)
    if request and attempt == 1:
        trace_id, flags = request.trace_id, request.trace_flags
    return SpanContext(trace_id, int.from_bytes(digest[16:24]), is_remote=False, trace_flags=flags)


def _traceparent_of(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _provider() -> TracerProvider:
    """Made by a process's first attempt: its exporter's thread does not survive a fork."""
    with _making:
        return _make_provider()


@cache
def _make_provider() -> TracerProvider:
    """Reads the OTEL_ variables."""
    resource = Resource.create({"service.name": "legwork", "service.version": settings.RELEASE} | _from_environment())
    provider = TracerProvider(resource=resource, id_generator=AttemptIds(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def _from_environment() -> dict[str, Any]:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come before our own names."""
    return {
        name: value
        for name, value in Resource.create().attributes.items()
        if not str(value).startswith("unknown_service")
    }
