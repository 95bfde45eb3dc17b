"""What came of calling a provider: the exceptions of Anymail and requests as failures. Pure.

What matters is whether the provider can have the message: never when nobody took the connection, perhaps when it broke
later, certainly not when the answer says so. What answers say is in mail.sending.error_codes.
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

from mail.errors import NotCalled, NotTaken
from mail.failure import Failure, FailureClass
from mail.sending import error_codes

NEVER_CONNECTED = (NewConnectionError, NameResolutionError, ConnectTimeoutError, SSLCertVerificationError)
NO_REQUEST = (InvalidURL, InvalidSchema, MissingSchema, InvalidHeader, NoCredentialsError, PartialCredentialsError)
"""What requests and boto3 say before they open a connection."""

BY_STATUS = {
    400: FailureClass.INVALID,
    413: FailureClass.INVALID,
    422: FailureClass.INVALID,
    401: FailureClass.ACCOUNT,
    402: FailureClass.ACCOUNT,
    403: FailureClass.ACCOUNT,
    404: FailureClass.ACCOUNT,
    408: FailureClass.AMBIGUOUS,
    420: FailureClass.THROTTLED,
    429: FailureClass.THROTTLED,
}
"""Of what is not in the table of answers."""
NOT_TAKEN = frozenset({"invalid", "rejected", "failed"})
"""Anymail's words for a recipient whose message the provider does not send."""
DETAIL_LIMIT = 200
ADDRESS = re.compile(r"[^\s<>\"']+@[^\s<>\"']+")


def failure_of(error: BaseException) -> Failure:
    """What this exception, raised by a call of a provider, says of the message."""
    if isinstance(error, NotCalled):
        return error.failure
    if isinstance(error, NotTaken | AnymailRecipientsRefused):
        return _refused(error)
    status = _status(error)
    if status is not None:
        return _answered(error, status, _body(error))
    if any(isinstance(link, NEVER_CONNECTED) for link in _chain(error)):
        return Failure(FailureClass.UNREACHABLE, f"the provider could not be reached ({_innermost(error)})")
    if isinstance(error, AnymailConfigurationError) or any(isinstance(link, NO_REQUEST) for link in _chain(error)):
        return Failure(FailureClass.CONFIGURATION, f"the provider's settings are wrong ({type(error).__name__})")
    if isinstance(error, AnymailError) and not isinstance(error, AnymailAPIError):
        return Failure(FailureClass.INVALID, f"it cannot be sent by this provider: {_shown(str(error))}")
    return Failure(FailureClass.AMBIGUOUS, f"the connection to the provider failed ({_innermost(error)})")


def asked_pause(error: BaseException, now: datetime) -> timedelta | None:
    """How long the answer asks us to wait; None when it says nothing that could be understood."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    waits = [_until_reset(headers, now), _retry_after(headers, now), _until_the_date(_body(error), now)]
    return max((wait for wait in waits if wait is not None), default=None)


def check_taken(mail: Any, esp_name: str) -> None:
    """Raises NotTaken where Anymail raises nothing of a message that the provider has refused.

    It leaves that to its callers where an answer may be about several recipients (Mailjet, Postmark); we have one.
    """
    taken = mail.anymail_status
    refused = getattr(taken.esp_response, "status_code", 0) >= 400
    if refused or (taken.status and taken.status <= NOT_TAKEN):
        raise NotTaken(esp_name, mail, taken.esp_response)


def _refused(error: NotTaken | AnymailRecipientsRefused) -> Failure:
    """The answer was a yes to the call, and a no to its only recipient."""
    body = _body(error)
    status = getattr(error.response, "status_code", 0)
    kind = _known(error, status, body) or BY_STATUS.get(status, FailureClass.INVALID)
    return Failure(kind, f"the provider does not take it: {_shown(body)}".rstrip(": "))


def _answered(error: BaseException, status: int, body: str) -> Failure:
    said = f"the provider answered {status}: {_shown(body)}".rstrip(": ")
    if known := _known(error, status, body):
        return Failure(known, said)
    if 200 <= status < 300:
        # An answer that breaks off may have begun as a yes.
        kind = FailureClass.AMBIGUOUS if _breaks_off(body) else FailureClass.CONFIGURATION
        return Failure(kind, said)
    if status >= 500:
        return Failure(FailureClass.AMBIGUOUS, said)
    return Failure(BY_STATUS.get(status, FailureClass.CONFIGURATION), said)


def _known(error: BaseException, status: int | None, body: str) -> FailureClass | None:
    esp = error_codes.service(getattr(error, "esp_name", None) or "")
    sender = parseaddr(getattr(getattr(error, "email_message", None), "from_email", None) or "")[1]
    code = _amazons(error, "Error").get("Code")
    return error_codes.known(esp, status, body, sender, code if isinstance(code, str) else "")


def _status(error: BaseException) -> int | None:
    """Of the answer, if there was one; Amazon's has it inside."""
    status: int | None = getattr(error, "status_code", None)
    return _amazons(error, "ResponseMetadata").get("HTTPStatusCode") if status is None else status


def _amazons(error: BaseException, part: str) -> Mapping[str, Any]:
    """A part of the answer as boto3 reads it, empty where there is none."""
    response = getattr(error, "response", None)
    found = response.get(part) if isinstance(response, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _breaks_off(body: str) -> bool:
    text = body.strip()
    return not text or (text.startswith("{") and not text.endswith("}"))


def _body(error: BaseException) -> str:
    try:
        return str(_amazons(error, "Error").get("Message") or error.response.text)  # type: ignore[attr-defined]
    except Exception:  # there is no answer, or none that can be read
        return ""


def _shown(text: str) -> str:
    """For people: one short line, without addresses."""
    return ADDRESS.sub("…", " ".join(text.replace("\0", "").split()))[:DETAIL_LIMIT]


def _until_reset(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """X-RateLimit-Reset: the second since 1970 (Mailgun), or how many seconds from now (others)."""
    seconds = _number(headers.get("X-RateLimit-Reset"))
    if seconds is None:
        return None
    return _span(seconds - now.timestamp() if seconds > 1e9 else seconds)


def _until_the_date(body: str, now: datetime) -> timedelta | None:
    date = error_codes.try_again_at(body)
    return _span((date - now).total_seconds()) if date else None


def _retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """RFC 9110, 10.2.3: a number of seconds, or a date."""
    value = headers.get("Retry-After")
    seconds = _number(value)
    if seconds is not None:
        return _span(seconds)
    try:
        date = parsedate_to_datetime(value or "")
        return _span(((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    return float(value) if value and re.fullmatch(r"\s*[0-9]{1,15}(\.[0-9]{1,9})?\s*", value, re.ASCII) else None


def _span(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0.0), 1e8))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """It, and all that it was raised for: causes, contexts, and what urllib3 and requests carry inside."""
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
