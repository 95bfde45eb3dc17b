"""Mailgun's signature: Anymail checks its digest; here its form and age are checked, and each of our keys is tried.

The signature covers a time and a token, and not the event (Mailgun, "Securing webhooks").
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from anymail.exceptions import AnymailWebhookValidationFailure
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from django.http import HttpRequest

MAX_AGE = timedelta(hours=24)
"""Mailgun retries for eight hours, with the same signature."""
MAX_CLOCK_SKEW = timedelta(minutes=10)
"""How far Mailgun's clock may be ahead of ours."""
MAX_TOKEN_LENGTH = 100
UNEXPECTED_FORMAT = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""Raised by Anymail's views for a request whose form they do not expect."""


class BadSignature(ValueError):
    """Its text says what is wrong, as a sentence."""


class NoSignature(BadSignature):
    """It does not have the form of a signature, so it is hardly from Mailgun."""


def token_of(block: Mapping[str, object]) -> str:
    """block: {"timestamp", "token", "signature"}. Raises NoSignature."""
    token = block.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_LENGTH or not token.isascii() or "\0" in token:
        raise NoSignature("The signature has no token.")
    if not re.fullmatch(r"[0-9]{1,11}", str(block.get("timestamp"))):
        raise NoSignature("The signature has no timestamp.")
    return token


def check_signature(view: MailgunTrackingWebhookView, request: HttpRequest) -> None:
    """By Anymail, with each of the view's keys in turn. Raises BadSignature."""
    reason = ""
    keys: bytes = view.webhook_signing_key
    for key in keys.split(b","):
        view.webhook_signing_key = key.strip()
        try:
            MailgunTrackingWebhookView.validate_request(view, request)
            return
        except AnymailWebhookValidationFailure as error:
            reason = str(error)
        except UNEXPECTED_FORMAT:
            reason = "The signature is wrong."
    raise BadSignature(reason)


def check_age(block: Mapping[str, object], now: datetime) -> None:
    """Raises BadSignature. The block must have passed token_of()."""
    age = now.timestamp() - int(str(block["timestamp"]))
    if not -MAX_CLOCK_SKEW.total_seconds() <= age <= MAX_AGE.total_seconds():
        raise BadSignature("The signature is older than 24 hours, or from the future.")
