"""Which requests are simple enough to be gathered."""

from project.gathering.requests import FIELDS, understand

PLAIN = [(b"host", b"legwork.example.org"), (b"authorization", b"Token abc")]


def scope(*fields: tuple[bytes, bytes]) -> dict[str, object]:
    return {"headers": [*PLAIN, *fields], "query_string": b"", "scheme": "https"}


def test_trace_headers_do_not_keep_a_request_from_being_gathered() -> None:
    traced = scope(
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), (b"tracestate", b"a=b")
    )
    assert understand(traced, FIELDS)
    assert understand(scope((b"x-other", b"1")), FIELDS) is None
