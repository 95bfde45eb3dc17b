"""The signature of Mailgun's webhooks (Mailgun, "Securing webhooks"): over a time and a token, nothing else. Pure."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

OLDEST = timedelta(hours=24)
"""Mailgun tries again for eight hours, with the same signature."""
AHEAD = timedelta(minutes=10)
"""How far Mailgun's clock may be ahead of ours."""
LONGEST_TOKEN = 100


class BadSignature(ValueError):
    """Says what is wrong with it, as a sentence."""


def checked_token(block: Mapping[str, object], key: str, now: datetime) -> str:
    """The token of a {"timestamp", "token", "signature"} that is right and not too old. Raises BadSignature."""
    timestamp, token, given = (block.get(name) for name in ("timestamp", "token", "signature"))
    if not isinstance(token, str) or not 0 < len(token) <= LONGEST_TOKEN or not token.isascii() or "\0" in token:
        raise BadSignature("The signature has no token.")
    if not re.fullmatch(r"[0-9]{1,11}", str(timestamp)):
        raise BadSignature("The signature has no timestamp.")
    if not isinstance(given, str) or not hmac.compare_digest(_bytes(given), _bytes(_signature(key, timestamp, token))):
        raise BadSignature("The signature is not right.")
    age = now.timestamp() - int(str(timestamp))
    if not -AHEAD.total_seconds() <= age <= OLDEST.total_seconds():
        raise BadSignature("The signature is too old, or from the future.")
    return token


def _signature(key: str, timestamp: object, token: str) -> str:
    return hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
