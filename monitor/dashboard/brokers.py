"""Whether broker and cache answer, asked at most every ten seconds in each process."""

import time
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django_q.brokers import get_broker

ASK_EVERY = 10.0
"""Seconds: a check of one that hangs blocks until its timeout."""


@dataclass(frozen=True)
class Service:
    """problem: empty if it answers."""

    name: str
    what: str
    problem: str


_asked_at, _answers = 0.0, tuple[Service, ...]()


def services() -> tuple[Service, ...]:
    global _asked_at, _answers
    if not _answers or time.monotonic() - _asked_at > ASK_EVERY:
        _answers = (
            Service("broker", _broker_name(), _broker_problem()),
            Service("cache", _cache_name(), _cache_problem()),
        )
        _asked_at = time.monotonic()
    return _answers


def _broker_name() -> str:
    return str(settings.BROKER["class"]).rpartition(".")[2]


def _cache_name() -> str:
    return str(settings.CACHES["default"]["BACKEND"]).rpartition(".")[2]


def _broker_problem() -> str:
    try:
        get_broker().ping()
    except Exception as error:  # each broker has its own errors
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def _cache_problem() -> str:
    try:
        cache.get("legwork-monitor")
    except Exception as error:  # each cache has its own errors
        return f"{type(error).__name__}: {error}"[:200]
    return ""
