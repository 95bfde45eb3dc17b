"""A job's attempts as a collector of OpenTelemetry gets them: over HTTP, from a worker of a running stack."""

from gzip import decompress
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from demo.eventually import eventually
from tests.support.servers.web import make_server
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

TRACE, REQUEST = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FAILS_ONCE = {"kind": "demo.countdown", "params": {"seconds": 0, "fail_attempts": 1, "error": "transient"}}


def test_a_collector_gets_the_attempts_of_a_traced_request(tmp_path: Path) -> None:
    with make_server() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url.rstrip("/"), "OTEL_BSP_SCHEDULE_DELAY": "100"}
        env |= {"RELEASE": "2026.11", "WORKERS": "1", "IO_WORKERS": "1"}
        with Stack(f"sqlite:///{tmp_path}/legwork.sqlite3", tmp_path, env=env) as stack:
            headers = {"traceparent": f"00-{TRACE}-{REQUEST}-01"}
            job = stack.client().post("jobs/", FAILS_ONCE, headers=headers, expect=202).json()["id"]
            spans = eventually(lambda: two(spans_of(collector, job)), PATIENCE, "two spans", pause=0.2)
    first, second = spans
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, REQUEST)
    assert first.status.code == first.status.STATUS_CODE_ERROR
    assert second.status.code == second.status.STATUS_CODE_UNSET
    assert second.parent_span_id == b""
    links = [(link.trace_id, link.span_id) for link in second.links]
    assert links == [(first.trace_id, first.span_id), (bytes.fromhex(TRACE), bytes.fromhex(REQUEST))]
    assert {("service.name", "legwork"), ("service.version", "2026.11")} <= resource_of(collector)


def two(spans: list[Any]) -> list[Any] | None:
    return sorted(spans, key=lambda span: span.start_time_unix_nano) if len(spans) == 2 else None


def exports(collector: Any) -> list[Any]:
    found = []
    for asked in list(collector.asked):
        assert asked.path == "/v1/traces"
        body = decompress(asked.body) if asked.headers.get("Content-Encoding") == "gzip" else asked.body
        found += ExportTraceServiceRequest.FromString(body).resource_spans
    return found


def spans_of(collector: Any, job: str) -> list[Any]:
    spans = [span for each in exports(collector) for scope in each.scope_spans for span in scope.spans]
    return [span for span in spans if ("legwork.job.id", job) in texts(span.attributes)]


def resource_of(collector: Any) -> set[tuple[str, str]]:
    return texts(exports(collector)[0].resource.attributes)


def texts(attributes: Any) -> set[tuple[str, str]]:
    return {(each.key, each.value.string_value) for each in attributes}
