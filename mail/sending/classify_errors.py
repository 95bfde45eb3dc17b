"""Classifies the exceptions of Anymail and requests after a call of a provider. Pure.

The question is whether the provider can have the message: not if no connection was made or the answer is a 4xx
(except 408); possibly if the connection broke later, or the answer is a 5xx or truncated. The providers' own
error codes are in mail.sending.error_codes.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr, parsedate_to_datetime
from ssl import SSLCertVerificationError
from typing import Any

from anymail.exceptions import AnymailAPIError, AnymailConfigurationError, AnymailError, AnymailRecipientsRefused
from botocore.exceptions import NoCredentialsError, PartialCredentialsError
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from mail.errors import ProviderNotCalled, RecipientRefused
from mail.failure import Failure, FailureClass
from mail.sending import error_codes

NEVER_CONNECTED = (NewConnectionError, NameResolutionError, ConnectTimeoutError, SSLCertVerificationError)
NOT_REQUESTED = (InvalidURL, InvalidSchema, MissingSchema, InvalidHeader, NoCredentialsError, PartialCredentialsError)
"""Raised by requests and boto3 before they open a connection."""

BY_STATUS = {
    400: FailureClass.INVALID,
    413: FailureClass.INVALID,
    422: FailureClass.INVALID,
    401: FailureClass.ACCOUNT,
    402: FailureClass.ACCOUNT,
    403: FailureClass.SENDER,
    404: FailureClass.ACCOUNT,
    408: FailureClass.AMBIGUOUS,
    420: FailureClass.THROTTLED,
    429: FailureClass.THROTTLED,
}
"""For answers that error_codes does not know."""
REFUSED_STATUSES = frozenset({"invalid", "rejected", "failed"})
"""Anymail's statuses of a recipient that the provider does not send to."""
DETAIL_LIMIT = 200
ADDRESS = re.compile(r"(?<![^\s<>\"'])[^\s<>\"'@]*+@[^\s<>\"']++")


def classify_error(error: BaseException) -> Failure:
    """The failure that an exception raised by a call of a provider means."""
    if isinstance(error, ProviderNotCalled):
        return error.failure
    if isinstance(error, RecipientRefused | AnymailRecipientsRefused):
        return _refused(error)
    status = _status(error)
    if status is not None:
        return _answered(error, status, _body(error))
    chain = list(_chain(error))
    if any(isinstance(each, NEVER_CONNECTED) for each in chain):
        return Failure(FailureClass.UNREACHABLE, f"the provider could not be reached ({_innermost(error)})")
    if isinstance(error, AnymailConfigurationError) or any(isinstance(each, NOT_REQUESTED) for each in chain):
        return Failure(FailureClass.CONFIGURATION, f"the provider's settings are wrong ({type(error).__name__})")
    if isinstance(error, AnymailError) and not isinstance(error, AnymailAPIError):
        return Failure(FailureClass.INVALID, f"it cannot be sent by this provider: {_one_line(str(error))}")
    return Failure(FailureClass.AMBIGUOUS, f"the connection to the provider failed ({_innermost(error)})")


def requested_pause(error: BaseException, now: datetime) -> timedelta | None:
    """The pause that the answer asks for; None if it asks for none, or in an unknown form."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    date = error_codes.try_again_at(_body(error))
    waits = [
        _until_reset(headers, now),
        _retry_after(headers, now),
        _duration((date - now).total_seconds()) if date else None,
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def raise_if_refused(mail: Any, esp_name: str) -> None:
    """Raises RecipientRefused if the provider refused the only recipient.

    Anymail does not raise for that where an answer may be about several recipients (Mailjet, Postmark).
    """
    status = mail.anymail_status
    is_error = getattr(status.esp_response, "status_code", 0) >= 400
    if is_error or (status.status and status.status <= REFUSED_STATUSES):
        raise RecipientRefused(esp_name, mail, status.esp_response)


def _refused(error: RecipientRefused | AnymailRecipientsRefused) -> Failure:
    """The call succeeded, and its only recipient was refused."""
    body = _body(error)
    status = getattr(error.response, "status_code", 0)
    kind = _known(error, status, body) or BY_STATUS.get(status, FailureClass.INVALID)
    return Failure(kind, f"{_remedy(kind, error)}the provider does not take it: {_one_line(body)}".rstrip(": "))


def _answered(error: BaseException, status: int, body: str) -> Failure:
    detail = f"the provider answered {status}: {_one_line(body)}".rstrip(": ")
    if known := _known(error, status, body):
        return Failure(known, _remedy(known, error) + detail)
    if 200 <= status < 300:
        # A truncated answer may have been an acceptance.
        kind = FailureClass.AMBIGUOUS if _is_truncated(body) else FailureClass.CONFIGURATION
        return Failure(kind, detail)
    if status >= 500:
        return Failure(FailureClass.AMBIGUOUS, detail)
    kind = BY_STATUS.get(status, FailureClass.CONFIGURATION)
    return Failure(kind, _remedy(kind, error) + detail)


def _remedy(kind: FailureClass, error: BaseException) -> str:
    """What to do about a refused sender; empty for other failures."""
    if kind != FailureClass.SENDER:
        return ""
    domain = _sender(error).rpartition("@")[2] or "this sender"
    return f"verify {domain} with the provider and let its key send for it, or send from another domain: "


def _known(error: BaseException, status: int | None, body: str) -> FailureClass | None:
    esp = error_codes.service(getattr(error, "esp_name", None) or "")
    code = _boto3_part(error, "Error").get("Code")
    return error_codes.look_up(esp, status, body, _sender(error), code if isinstance(code, str) else "")


def _sender(error: BaseException) -> str:
    """The bare address of the message's sender; empty if the exception does not have the message."""
    return parseaddr(getattr(getattr(error, "email_message", None), "from_email", None) or "")[1]


def _status(error: BaseException) -> int | None:
    """Of the answer, if there was one; boto3 has it inside the response."""
    status: int | None = getattr(error, "status_code", None)
    return _boto3_part(error, "ResponseMetadata").get("HTTPStatusCode") if status is None else status


def _boto3_part(error: BaseException, part: str) -> Mapping[str, Any]:
    """A part of boto3's response; empty if there is none."""
    response = getattr(error, "response", None)
    value = response.get(part) if isinstance(response, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _is_truncated(body: str) -> bool:
    text = body.strip()
    return not text or (text.startswith("{") and not text.endswith("}"))


def _body(error: BaseException) -> str:
    try:
        return str(_boto3_part(error, "Error").get("Message") or error.response.text)  # type: ignore[attr-defined]
    except Exception:  # there is no answer, or an unreadable one
        return ""


def _one_line(text: str) -> str:
    """At most DETAIL_LIMIT characters, without addresses."""
    return ADDRESS.sub("…", " ".join(text.replace("\0", "").split()))[:DETAIL_LIMIT]


def _until_reset(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """X-RateLimit-Reset: in seconds since 1970 (Mailgun), or in seconds from now (others)."""
    seconds = _number(headers.get("X-RateLimit-Reset"))
    if seconds is None:
        return None
    return _duration(seconds - now.timestamp() if seconds > 1e9 else seconds)


def _retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """RFC 9110, 10.2.3: a number of seconds, or a date."""
    value = headers.get("Retry-After")
    seconds = _number(value)
    if seconds is not None:
        return _duration(seconds)
    try:
        date = parsedate_to_datetime(value or "")
        return _duration(((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    return float(value) if value and re.fullmatch(r"\s*[0-9]{1,15}(\.[0-9]{1,9})?\s*", value, re.ASCII) else None


def _duration(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0.0), 1e8))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception with its causes and contexts, and those that urllib3 and requests carry in reason and args."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        link = todo.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]


def _innermost(error: BaseException) -> str:
    return type(list(_chain(error))[-1]).__name__
