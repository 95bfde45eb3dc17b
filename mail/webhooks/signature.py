"""What Anymail does not check of a Mailgun signature: that it is not old, and whose token it has. Pure.

The signature covers a time and a token, and nothing else (Mailgun, "Securing webhooks").
"""

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


class NoSignature(BadSignature):
    """It has not the form of one, so that it can hardly come from Mailgun."""


def token_of(block: Mapping[str, object]) -> str:
    """The token of a {"timestamp", "token", "signature"}. Raises NoSignature."""
    token = block.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= LONGEST_TOKEN or not token.isascii() or "\0" in token:
        raise NoSignature("The signature has no token.")
    if not re.fullmatch(r"[0-9]{1,11}", str(block.get("timestamp"))):
        raise NoSignature("The signature has no timestamp.")
    return token


def check_age(block: Mapping[str, object], now: datetime) -> None:
    """Raises BadSignature. The block is one that has passed token_of()."""
    age = now.timestamp() - int(str(block["timestamp"]))
    if not -AHEAD.total_seconds() <= age <= OLDEST.total_seconds():
        raise BadSignature("The signature is too old, or from the future.")
