"""The error codes and texts of providers' APIs, by failure class. Pure.

The HTTP status alone does not tell a suspended account from a malformed message. mail.sending.classify_errors looks
here first, and uses the status for answers that are not in the table.
Sources: each provider's API reference, and botocore's model of SESv2.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mail.failure import FailureClass

ACCOUNT, INVALID, THROTTLED = FailureClass.ACCOUNT, FailureClass.INVALID, FailureClass.THROTTLED
SENDER, NOT_PERMITTED, LISTED = FailureClass.SENDER, FailureClass.NOT_PERMITTED, FailureClass.LISTED_UNKNOWN


@dataclass(frozen=True, slots=True)
class Answer:
    """An error answer. esp: Anymail's name of the service. status, codes: of HTTP, and in the body; empty for any.

    sentence: a regular expression that the body must match. of_sender: only if the body names the domain of the
    message's sender.
    """

    esp: str
    kind: FailureClass
    why: str
    status: int | None = None
    codes: tuple[str, ...] = ()
    sentence: str = ""
    of_sender: bool = False

    def matches(self, status: int | None, codes: set[str], body: str, sender: str) -> bool:
        return (
            self.status in (None, status)
            and (not self.codes or not codes.isdisjoint(self.codes))
            and (not self.sentence or re.search(self.sentence, body, re.IGNORECASE) is not None)
            and (not self.of_sender or _names(body, sender))
        )


ANSWERS = (
    Answer("mailgun", THROTTLED, "recipient limit exceeded; the sentence has a date", 420),
    Answer("mailgun", THROTTLED, "a limit, with a date in the sentence", sentence=r"limit exceeded, try again after"),
    Answer("mailgun", SENDER, "the account does not have the sender's domain", 404, (), r"domain not found"),
    Answer(
        "mailgun", NOT_PERMITTED, "a sandbox domain sends to authorized recipients", 403, (), "authorized recipient"
    ),
    Answer(
        "amazon_ses",
        ACCOUNT,
        "account suspended, sending paused, limit exceeded",
        codes=(
            "AccountSuspendedException",
            "AccountSendingPausedException",
            "SendingPausedException",
            "ConfigurationSetSendingPausedException",
            "LimitExceededException",
        ),
    ),
    Answer("amazon_ses", SENDER, "the sender's domain is not verified", codes=("MailFromDomainNotVerifiedException",)),
    Answer(
        "amazon_ses",
        ACCOUNT,
        "credentials or configuration set",
        codes=(
            "ExpiredTokenException",
            "ExpiredToken",
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "ConfigurationSetDoesNotExistException",
            "NotFoundException",
        ),
    ),
    Answer(
        "amazon_ses",
        THROTTLED,
        "sending rate or daily quota",
        codes=("TooManyRequestsException", "ThrottlingException", "Throttling"),
    ),
    Answer("amazon_ses", SENDER, "the sender is not verified", 400, ("MessageRejected",), "is not verified", True),
    Answer(
        "amazon_ses", NOT_PERMITTED, "a sandbox sends to verified addresses", 400, ("MessageRejected",), "not verified"
    ),
    Answer("postmark", ACCOUNT, "bad or missing server token", codes=("10",)),
    Answer("postmark", FailureClass.UNREACHABLE, "offline for maintenance", codes=("100",)),
    Answer("postmark", SENDER, "no sender signature, or not confirmed", codes=("400", "401")),
    Answer("postmark", ACCOUNT, "not allowed to send: out of credits", codes=("405",)),
    Answer("postmark", LISTED, "inactive recipient: bounce, complaint or manual suppression", codes=("406",)),
    Answer("postmark", ACCOUNT, "account pending, or may not send", codes=("412", "413")),
    Answer("postmark", THROTTLED, "rate limit exceeded", codes=("429",)),
    Answer("postmark", ACCOUNT, "no such message stream", codes=("1235", "1236")),
    Answer("postmark", INVALID, "invalid e-mail, JSON or attachment", codes=("300", "402", "403", "409", "410", "411")),
    Answer("sendgrid", ACCOUNT, "out of credits", 401, (), "credits exceeded"),
    Answer("sendgrid", SENDER, "the sender is not verified", sentence=r"verified sender identity"),
    Answer("brevo", ACCOUNT, "out of credits", codes=("not_enough_credits",)),
    Answer("brevo", ACCOUNT, "account under validation or suspended", codes=("account_under_validation",)),
    Answer(
        "brevo", ACCOUNT, "key or permission", codes=("unauthorized", "permission_denied", "reseller_permission_denied")
    ),
    Answer(
        "brevo",
        SENDER,
        "the sender is not verified",
        sentence=r"sender .{0,200}(is|are) not valid|validate your sender",
    ),
    Answer(
        "brevo",
        ACCOUNT,
        "account suspended or not activated",
        sentence=r"account .{0,80}(suspended|not (yet )?activated)",
    ),
    Answer("brevo", THROTTLED, "rate limit", codes=("too_many_requests",)),
    Answer("mailjet", SENDER, "the sender is not authorized", codes=("send-0008",)),
    Answer("mailjet", ACCOUNT, "account blocked", codes=("mj-0001",)),
    Answer("mailjet", INVALID, "malformed message or address", codes=("mj-0002", "mj-0003", "mj-0004", "mj-0013")),
    Answer("sparkpost", SENDER, "sending domain not configured or not verified", codes=("7001",)),
    Answer(
        "sparkpost",
        SENDER,
        "sending domain not configured or not verified",
        sentence=r"(unconfigured|unverified) sending domain",
    ),
    Answer("sparkpost", THROTTLED, "sending limit: hourly, daily or of the sandbox", 420),
    Answer(
        "mandrill",
        ACCOUNT,
        "key, subaccount or payment",
        codes=("Invalid_Key", "Unknown_Subaccount", "PaymentRequired"),
    ),
    Answer("mandrill", INVALID, "malformed message", codes=("ValidationError",)),
    Answer("mailersend", SENDER, "the sender is not verified", 422, (), r"#MS42207|domain must be verified"),
    Answer("mailersend", NOT_PERMITTED, "a trial account's recipients", 422, (), r"#MS42225"),
    Answer(
        "resend",
        NOT_PERMITTED,
        "a test account sends to its own address",
        sentence=r"only send testing emails to your own",
    ),
    Answer("resend", SENDER, "the sender's domain is not verified", sentence=r"domain is not verified"),
    Answer(
        "resend",
        THROTTLED,
        "rate or quota",
        codes=("rate_limit_exceeded", "daily_quota_exceeded", "monthly_quota_exceeded"),
    ),
    Answer(
        "postal",
        ACCOUNT,
        "key, or suspended server",
        codes=("AccessDenied", "InvalidServerAPIKey", "ServerSuspended"),
    ),
    Answer("postal", SENDER, "the sender's domain is not verified", codes=("UnauthenticatedFromAddress",)),
    Answer(
        "postal",
        INVALID,
        "malformed message or address",
        codes=("ValidationError", "NoRecipients", "NoContent", "FromAddressMissing", "AttachmentMissingName"),
    ),
)
"""The first that matches decides."""

CODE_FIELDS = ("ErrorCode", "code", "Code", "name", "error_code")
LEVELS = 6
"""How deep CODE_FIELDS are searched for in the body."""
TRY_AGAIN = re.compile(r"try again after (\w{3}, \d{1,2} \w{3} \d{4} [\d:]{8}( [A-Z]{1,5}| [+-]\d{4})?)")


def look_up(esp: str, status: int | None, body: str, sender: str = "", code: str = "") -> FailureClass | None:
    """The class of this answer; None if it is not in the table.

    sender: the message's bare address. code: of the error, if it is not in the body.
    """
    rows = [row for row in ANSWERS if row.esp == esp]
    codes = {code, *_codes(_parsed(body), LEVELS)} if rows else set()
    return next((row.kind for row in rows if row.matches(status, codes, body, sender)), None)


def try_again_at(body: str) -> datetime | None:
    """The date in Mailgun's text for an exceeded limit; None if there is none."""
    found = TRY_AGAIN.search(body)
    try:
        date = parsedate_to_datetime(found[1]) if found else None
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date and not date.tzinfo else date


def service(esp_name: str) -> str:
    """Anymail's display name ("Amazon SES") as in this table and in the backends' modules ("amazon_ses")."""
    return esp_name.lower().replace(" ", "_")


def _parsed(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _codes(part: object, levels: int) -> Iterator[str]:
    """The values of all CODE_FIELDS, down to so many levels."""
    if not levels:
        return
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in CODE_FIELDS and isinstance(value, str | int):
                yield str(value)
            else:
                yield from _codes(value, levels - 1)
    elif isinstance(part, list):
        for value in part:
            yield from _codes(value, levels - 1)


def _names(body: str, sender: str) -> bool:
    domain = sender.rpartition("@")[2].lower()
    return bool(domain) and re.search(rf"(?<![\w.-]){re.escape(domain)}(?![\w-])", body.lower()) is not None
