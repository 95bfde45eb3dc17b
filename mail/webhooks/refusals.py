"""Alerts when several webhooks in a row are unverified: events are lost if our key or clock is wrong."""

import threading
from collections import Counter

import structlog

from mail import alerts

log = structlog.get_logger(__name__)

IN_A_ROW = 10
"""Without an accepted webhook in between; each web process counts its own."""
WHAT_TO_DO = "check the signing key, the secret in the webhook's URL, and this machine's clock."

_refused: Counter[str] = Counter()
_lock = threading.Lock()


def record_accepted(service: str) -> None:
    with _lock:
        _refused.pop(service, None)


def record_unverified(service: str, reason: str) -> None:
    """Count a webhook of this service that could not be verified. Never raises."""
    with _lock:
        _refused[service] += 1
        alert_due = _refused[service] % IN_A_ROW == 0
    if alert_due:
        try:
            alerts.alert_once("webhooks_refused", f"{IN_A_ROW} in a row: {reason} {WHAT_TO_DO}", provider=service)
        except Exception:  # the webhook is answered as usual
            log.exception("alert_failed", alert="webhooks_refused")
