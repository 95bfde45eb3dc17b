"""The spans of attempts, as an exporter gets them."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from jobs.models import Job, Trace
from jobs.models.states import Status
from jobs.submit import submit
from jobs.worker.attempts import spans
from jobs.worker.attempts.interrupt import Cancelled, Stopped
from tests.support.factories import make_job

pytestmark = pytest.mark.django_db

TRACE, REQUEST = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[InMemorySpanExporter]:
    settings.TRACING = True
    provider, exporter = TracerProvider(id_generator=spans.AttemptIds()), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def make_traced_job(attempt: int = 1, flags: str = "01") -> Job:
    job = make_job(Status.RUNNING, attempt=attempt)
    Trace.objects.create(job=job, traceparent=f"00-{TRACE}-{REQUEST}-{flags}")
    return job


def attempt(job: Job, exporter: InMemorySpanExporter, number: int = 1) -> ReadableSpan:
    job.attempt = number
    with spans.attempt_span(job):
        pass
    return exporter.get_finished_spans()[-1]


def test_the_first_attempt_is_a_child_of_the_request(exporter: InMemorySpanExporter) -> None:
    span = attempt(make_traced_job(), exporter)
    assert span.parent
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, REQUEST)
    assert span.links == ()


def test_retries_have_traces_of_their_own_and_link_to_what_was_before(exporter: InMemorySpanExporter) -> None:
    job = make_traced_job()
    first, second, third = (attempt(job, exporter, number) for number in (1, 2, 3))
    assert (second.parent, third.parent) == (None, None)
    assert len({span.context.trace_id for span in (first, second, third)}) == 3
    for span, before in ((second, first), (third, second)):
        previous, request = (link.context for link in span.links)
        assert (previous.trace_id, previous.span_id) == (before.context.trace_id, before.context.span_id)
        assert (f"{request.trace_id:032x}", f"{request.span_id:016x}") == (TRACE, REQUEST)


def test_a_job_without_a_trace_begins_one_and_its_retry_links_to_it(exporter: InMemorySpanExporter) -> None:
    job = make_job(Status.RUNNING)
    first, second = attempt(job, exporter), attempt(job, exporter, 2)
    assert first.parent is None
    [link] = second.links
    assert (link.context.trace_id, link.context.span_id) == (first.context.trace_id, first.context.span_id)


def test_a_request_that_is_not_sampled_has_no_spans(exporter: InMemorySpanExporter) -> None:
    with spans.attempt_span(make_traced_job(flags="00")):
        pass
    assert exporter.get_finished_spans() == ()


def test_what_an_attempt_submits_belongs_to_its_trace(exporter: InMemorySpanExporter) -> None:
    with spans.attempt_span(make_traced_job()):
        submitted = submit("demo.countdown", {"seconds": 0})
    [span] = exporter.get_finished_spans()
    assert Trace.objects.get(pk=submitted.pk).traceparent == f"00-{TRACE}-{span.context.span_id:016x}-01"
    child = attempt(submitted, exporter)
    assert child.parent
    assert child.parent.span_id == span.context.span_id


def test_a_span_records_an_error_but_a_cancellation_is_no_error(exporter: InMemorySpanExporter) -> None:
    for error in (ValueError("broken"), Cancelled()):
        with pytest.raises(type(error)), spans.attempt_span(make_job(Status.RUNNING)):
            raise error
    failed, cancelled = exporter.get_finished_spans()
    assert failed.status.status_code == StatusCode.ERROR
    assert failed.events[0].attributes
    assert failed.events[0].attributes["exception.message"] == "broken"
    assert cancelled.status.status_code == StatusCode.UNSET


def test_an_attempt_that_was_handed_back_has_no_span(exporter: InMemorySpanExporter) -> None:
    job = make_traced_job()
    with pytest.raises(Stopped), spans.attempt_span(job):
        raise Stopped
    assert exporter.get_finished_spans() == ()
    assert attempt(job, exporter).parent
