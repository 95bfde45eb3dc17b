"""What exceptions of Anymail and requests mean: whether the provider can have the message. Against real sockets where
it matters, because requests calls a connection that was refused and one that was dropped by the same name."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import parse_headers
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
import requests
from anymail.exceptions import (
    AnymailConfigurationError,
    AnymailInvalidAddress,
    AnymailRequestsAPIError,
    AnymailSerializationError,
    AnymailUnsupportedFeature,
)
from anymail.message import AnymailMessage
from botocore.stub import Stubber
from django.core.mail import get_connection
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError

from mail.errors import ProviderNotCalled
from mail.failure import OUTCOME_OF, Failure, FailureClass, Outcome
from mail.policy.rules import TABLE, Breaker
from mail.sending import error_codes
from mail.sending.classify_errors import classify_error, requested_pause
from mail.sending.error_codes import ANSWERS
from tests.support.mail.sending import MAILGUN
from tests.support.timeouts import PATIENCE

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOBODYS = {"aws_access_key_id": "id", "aws_secret_access_key": "secret"}
SENT = '{"id": "<1@mg.example.org>", "message": "Queued. Thank you."}'


def error_of(url: str, patience: float = PATIENCE) -> Exception:
    """The exception of sending by a Mailgun at this URL. patience: seconds that it has to answer."""
    mailgun = get_connection(
        MAILGUN, api_key="key", api_url=f"{url}/v3", sender_domain="mg.example.org", timeout=(PATIENCE, patience)
    )
    mail = AnymailMessage("Hi", "There", "l@mg.example.org", ["ada@example.org"])
    with pytest.raises(Exception) as caught:  # noqa: PT011 whatever it is, it is what we want to look at
        mailgun.send_messages([mail])
    return caught.value


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """A server that reads a whole request, answers this and closes the connection; None: it never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        ended = threading.Event()

        def serve() -> None:
            with suppress(OSError):
                client, _ = server.accept()
                with client, client.makefile("rb") as request:
                    request.readline()
                    request.read(int(parse_headers(request)["Content-Length"]))
                    if answer is None:
                        ended.wait(PATIENCE)
                    else:
                        client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def http(status: int, body: str, headers: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n{headers}\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "ambiguous"),
        (b"", "ambiguous"),
        (b"HTTP/1.1 200 OK\r\n", "ambiguous"),
        (http(200, SENT[:20], length=len(SENT)), "ambiguous"),
        (http(200, SENT[:20]), "ambiguous"),
        (http(200, ""), "ambiguous"),
        (http(200, "<html>Mailgun Magnificent API</html>"), "configuration"),
        (http(200, "[]"), "configuration"),
        (http(200, '{"id": "1", "message": "Whatever"}'), "configuration"),
        *((http(status, "oops"), "ambiguous") for status in (408, 500, 502, 503, 504, 599)),
        *((http(status, "no"), "invalid") for status in (400, 413)),
        *((http(status, "no"), "account") for status in (401, 402, 404)),
        (http(403, "no"), "sender"),
        (http(404, "Domain not found: mg.example.org"), "sender"),
        (http(429, "slow"), "throttled"),
        (http(405, "no"), "configuration"),
    ],
)
def test_an_answer(answer: bytes | None, kind: str) -> None:
    with answering(answer) as url:
        assert classify_error(error_of(url, PATIENCE if answer is not None else 0.3)).kind == kind


def test_a_refused_connection_means_unreachable() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        assert classify_error(error_of(f"http://127.0.0.1:{deaf.getsockname()[1]}")).kind == "unreachable"


def test_an_unknown_host_means_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert classify_error(error_of("http://nowhere.invalid")).kind == "unreachable"


def test_an_invalid_certificate_means_unreachable() -> None:
    error = requests.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed"))
    assert classify_error(error).kind == "unreachable"


RAISED = {
    AnymailInvalidAddress("x"): "invalid",
    AnymailUnsupportedFeature("x"): "invalid",
    AnymailSerializationError("x"): "invalid",
    AnymailConfigurationError("x"): "configuration",
    requests.exceptions.InvalidURL("x"): "configuration",
    ProviderNotCalled(Failure(FailureClass.INVALID, "x")): "invalid",
    RuntimeError("x"): "ambiguous",
    AnymailRequestsAPIError("x"): "ambiguous",
    requests.ConnectTimeout(MaxRetryError(cast("Any", None), "/", ConnectTimeoutError("timed out"))): "unreachable",
}


@pytest.mark.parametrize(("error", "kind"), RAISED.items())
def test_an_exception_without_an_answer(error: Exception, kind: str) -> None:
    assert classify_error(error).kind == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid"), (403, "sender"), (404, "account"), (429, "throttled"), (500, "ambiguous"), (503, "ambiguous")],
)
def test_amazon_s_status_is_read_from_boto3_s_response(status: int, kind: str) -> None:
    with Stubber(boto3.client("sesv2", region_name="eu-west-1", **NOBODYS)) as stub:
        stub.add_client_error("send_email", "X", "no", http_status_code=status)
        failure = classify_error(error_of_amazon(stub.client))
    assert failure.kind == kind
    assert failure.detail.endswith(f"the provider answered {status}: no")


@pytest.mark.parametrize(
    ("esp", "status", "body", "kind"),
    [
        ("mandrill", 500, {"status": "error", "code": -1, "name": "Invalid_Key", "message": "no"}, "account"),
        ("mandrill", 500, {"status": "error", "code": 10, "name": "PaymentRequired"}, "account"),
        ("mandrill", 500, {"status": "error", "code": -2, "name": "ValidationError"}, "invalid"),
        ("mandrill", 500, {"status": "error", "code": -9, "name": "GeneralError"}, None),
        ("mailersend", 422, {"message": "The from.email domain must be verified #MS42207"}, "sender"),
        ("mailersend", 422, {"message": "unique recipients limit #MS42225"}, "not_permitted"),
        ("mailersend", 422, {"message": "The given data was invalid."}, None),
        ("resend", 403, {"name": "validation_error", "message": "The example.org domain is not verified."}, "sender"),
        (
            "resend",
            403,
            {"name": "validation_error", "message": "You can only send testing emails to your own email address"},
            "not_permitted",
        ),
        ("resend", 429, {"name": "daily_quota_exceeded"}, "throttled"),
        ("postal", 200, {"status": "error", "data": {"code": "UnauthenticatedFromAddress"}}, "sender"),
        ("postal", 200, {"status": "error", "data": {"code": "NoRecipients"}}, "invalid"),
        ("unheard_of", 400, {"code": "10", "ErrorCode": 405}, None),
    ],
)
def test_error_codes_of_providers_without_cases_of_their_own(
    esp: str, status: int, body: dict[str, Any], kind: str | None
) -> None:
    """Those of the others are in tests/provider_cases."""
    assert error_codes.look_up(esp, status, json.dumps(body)) == kind


@given(st.sampled_from(sorted({row.esp for row in ANSWERS})), st.integers(200, 599), st.text(max_size=200))
def test_any_answer_can_be_looked_up(esp: str, status: int, body: str) -> None:
    for text in (body, json.dumps({"code": body}), "[" * 5000, f"try again after Mon, 99 Foo 2026 99:99:99 {body}"):
        assert error_codes.look_up(esp, status, text, "l@mg.example.org", body) in (None, *FailureClass)
        assert error_codes.try_again_at(text) is None


def test_without_credentials_nothing_is_sent_to_amazon() -> None:
    client = boto3.client("sesv2", region_name="eu-west-1", **NOBODYS)
    client._request_signer._credentials = None
    assert classify_error(error_of_amazon(client)).kind == "configuration"


def error_of_amazon(client: Any) -> Exception:
    """The exception of sending by Amazon SES with this client."""
    amazon = get_connection("anymail.backends.amazon_ses.EmailBackend")
    amazon.client = client
    with pytest.raises(Exception) as caught:  # noqa: PT011 whatever it is, it is what we want to look at
        amazon.send_messages([AnymailMessage("Hi", "There", "l@mg.example.org", ["ada@example.org"])])
    return caught.value


def test_a_failure_names_no_address_and_is_short() -> None:
    with answering(http(400, "'to' is bad: ada@example.org " * 100)) as url:
        detail = classify_error(error_of(url)).detail
    assert "ada" not in detail
    assert len(detail) < 300


def test_every_class_that_an_answer_can_have_has_an_outcome() -> None:
    by_status = {classify_error(answer(status)).kind for status in range(200, 600)}
    by_code = {row.kind for row in ANSWERS}
    without_an_answer = {classify_error(error).kind for error in RAISED}
    assert by_status | by_code | without_an_answer <= set(OUTCOME_OF)


@pytest.mark.parametrize("kind", OUTCOME_OF)
def test_the_outcome_of_a_class_agrees_with_its_row_of_the_policy(kind: FailureClass) -> None:
    """The outcome of a class agrees with its row of the policy, which decides about the next call."""
    rules = TABLE[kind]
    assert (OUTCOME_OF[kind] == Outcome.AMBIGUOUS) == all(rule.ambiguous for rule in rules)
    assert (OUTCOME_OF[kind] == Outcome.PERMANENT) == all(
        rule.breaker in (Breaker.OPEN, Breaker.SENDER) or not rule.waits for rule in rules
    )


def answer(status: int) -> Exception:
    """Anymail's exception for an answer with this status."""
    response = requests.Response()
    response.status_code = status
    return AnymailRequestsAPIError("no", response=response)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "20"}, 20),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 45)}, 45),
        ({"X-RateLimit-Reset": "45"}, 45),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) - 45)}, 0),
        ({"X-RateLimit-Reset": "45", "Retry-After": "20"}, 45),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "9" * 400}, None),
    ],
)
def test_a_pause_is_read_from_header_fields(headers: dict[str, str], seconds: float | None) -> None:
    pause = requested_pause(throttled(headers), NOW)
    assert pause == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("try again after Sun, 01 Mar 2026 12:30:00 UTC", 1800),
        ("try again after Sun, 01 Mar 2026 12:30:00 GMT", 1800),
        ("try again after Sun, 01 Mar 2026 12:30:00", 1800),
        ("try again after Sun, 01 Mar 2026 11:30:00 UTC", 0),
        ("try again after lunch", None),
        ("try again after Sun, 99 Mar 2026 12:30:00 UTC", None),
    ],
)
def test_a_pause_is_read_from_mailgun_s_text(said: str, seconds: float | None) -> None:
    error = Exception(said)
    error.response = SimpleNamespace(headers={}, text=json.dumps({"message": f"limit exceeded, {said}"}))  # type: ignore[attr-defined]
    assert requested_pause(error, NOW) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(), st.text())
def test_garbage_in_headers_is_no_error(reset: str, after: str) -> None:
    pause = requested_pause(throttled({"X-RateLimit-Reset": reset, "Retry-After": after}), NOW)
    assert pause is None or pause >= timedelta(0)


def throttled(headers: dict[str, str]) -> Exception:
    error = Exception(json.dumps(headers))
    error.response = SimpleNamespace(headers=headers)  # type: ignore[attr-defined]
    return error
