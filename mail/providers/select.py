"""Which account takes the next message, and the way to it."""

import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import requests
from botocore.config import Config
from django.conf import settings
from django.core.mail import get_connection
from django.utils import timezone

from mail.importance import Importance
from mail.providers import breakers
from mail.providers.accounts import Account, accounts

NOBODY_LEFT = timedelta(minutes=5)
"""How long a message waits that all configured providers have refused; it may expire meanwhile."""
IDLE_AT_MOST = 20.0
"""Seconds without use after which a connection is made anew: the other end may have dropped it without a word."""


def choose(importance: str, without: Collection[str] = (), last: Collection[str] = ()) -> Account | None:
    """Who takes a message now; None when nobody does. without: not these. last: these only if there is no other."""
    in_order = sorted(accounts(), key=lambda found: found.name in last)
    for found in in_order:
        if found.name in without:
            continue
        provider, now = breakers.seen(found.name), timezone.now()
        if provider.paused_until and provider.paused_until > now:
            if importance == Importance.BULK:
                return None  # it was ours that was too much; the next provider is not to be flooded too
            continue
        if not provider.opened_at:
            return found
        if provider.open_until and provider.open_until <= now and breakers.may_probe(found.name):
            return replace(found, probing=True)
    return None


def another(than: Collection[str]) -> bool:
    """Whether there is one besides these that could take a message now."""
    return any(found.name not in than and not free_at(found) for found in accounts())


def another_later(than: Collection[str]) -> bool:
    """Whether there is one besides these at all."""
    return any(found.name not in than for found in accounts())


def next_free(importance: str, without: Collection[str] = ()) -> datetime | None:
    """When a message may be taken by one of the others; None is now."""
    now = timezone.now()
    possible = [found for found in accounts() if found.name not in without]
    pauses = [pause for found in possible if (pause := breakers.seen(found.name).paused_until) and pause > now]
    if pauses and importance == Importance.BULK:
        return max(pauses)
    times = [free_at(found) for found in possible]
    if None in times:
        return None
    return min((moment for moment in times if moment), default=now + NOBODY_LEFT)


def free_at(found: Account) -> datetime | None:
    """When this one may take a message; None is now."""
    provider = breakers.seen(found.name)
    times = [provider.paused_until, provider.open_until if provider.opened_at else None]
    later = [moment for moment in times if moment and moment > timezone.now()]
    return max(later, default=None)


class Line:
    """An open connection to a provider, of one thread."""

    def __init__(self, found: Account) -> None:
        self.connection: Any = get_connection(found.backend, **_options(found), timeout=settings.MAIL_TIMEOUT)
        self.connection.open()
        _look_at_the_environment_once(self.connection)
        self.used_at = time.monotonic()

    @property
    def idle(self) -> float:
        return time.monotonic() - self.used_at

    def send(self, mail: Any) -> bool:
        """Hand over one e-mail; raises whatever Anymail and requests raise."""
        try:
            return bool(self.connection.send_messages([mail]))
        finally:
            self.used_at = time.monotonic()

    def close(self) -> None:
        with suppress(Exception):  # it is thrown away
            self.connection.close()


def _options(found: Account) -> dict[str, Any]:
    """Of the account. boto3 repeats calls by itself, also those that may have been accepted: here it calls once."""
    if found.esp != "amazon_ses":
        return found.options
    params: Any = found.options.get("client_params") or settings.ANYMAIL.get("AMAZON_SES_CLIENT_PARAMS", {})
    connect, read = settings.MAIL_TIMEOUT if isinstance(settings.MAIL_TIMEOUT, tuple) else [settings.MAIL_TIMEOUT] * 2
    once = Config(retries={"total_max_attempts": 1}, connect_timeout=connect, read_timeout=read)
    given = params.get("config")
    config = once.merge(given if isinstance(given, Config) else Config(**given)) if given else once
    return found.options | {"client_params": params | {"config": config}}


def _look_at_the_environment_once(connection: Any) -> None:
    """requests reads proxies, .netrc and certificates' places anew for every call, which takes as long as the rest."""
    session, url = getattr(connection, "session", None), getattr(connection, "api_url", "")
    if isinstance(session, requests.Session):
        found = session.merge_environment_settings(url, {}, None, None, None)
        session.proxies, session.verify, session.cert = found["proxies"], found["verify"], found["cert"]
        session.trust_env = False


_lines = threading.local()


def line_to(found: Account) -> Line:
    """This thread's connection to the account, kept open from call to call."""
    line: Line | None = _of_thread().get(found.name)
    if line and line.idle > IDLE_AT_MOST:
        hang_up(found.name)
        line = None
    if not line:
        line = _of_thread()[found.name] = Line(found)
    return line


def hang_up(name: str) -> None:
    """After an error nobody knows in what state the connection is."""
    if line := _of_thread().pop(name, None):
        line.close()


def _of_thread() -> dict[str, Line]:
    if not hasattr(_lines, "open"):
        _lines.open = {}
    lines: dict[str, Line] = _lines.open
    return lines
