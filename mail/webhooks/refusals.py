"""Webhooks that are refused in series are an alert: the key was changed, or a clock is wrong, and events get lost."""

import threading
from collections import Counter

import structlog

from mail import alerts

log = structlog.get_logger(__name__)

IN_A_ROW = 10
"""Refusals without a single webhook that was taken, counted by each web process for itself."""
WHAT_TO_DO = "are the signing key or the secret in the URL still the right ones, and is the clock?"

_refused: Counter[str] = Counter()
_lock = threading.Lock()


def taken(service: str) -> None:
    with _lock:
        _refused.pop(service, None)


def refused(service: str, reason: str) -> None:
    """Count one that claims to be the service's and could not be believed. Never raises."""
    with _lock:
        _refused[service] += 1
        in_series = _refused[service] % IN_A_ROW == 0
    if in_series:
        try:
            alerts.alert_once("webhooks_refused", f"{IN_A_ROW} in a row: {reason} {WHAT_TO_DO}", provider=service)
        except Exception:  # the webhook is refused all the same
            log.exception("alert_failed", alert="webhooks_refused")
