"""The signature block of a webhook (Mailgun, "Securing webhooks"). Pure but for chance."""

import hashlib
import hmac
import secrets
import time


def signature_block(key: str) -> dict[str, str]:
    """A new one, with the 50-character token that Mailgun uses."""
    timestamp, token = str(int(time.time())), secrets.token_hex(25)
    return {"timestamp": timestamp, "token": token, "signature": signature(key, timestamp, token)}


def signature(key: str, timestamp: str, token: str) -> str:
    return hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
