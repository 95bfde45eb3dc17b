"""Each thread's open connections to the provider accounts, kept from call to call."""

import threading
import time
from contextlib import suppress
from typing import Any

import requests
from botocore.config import Config
from django.conf import settings
from django.core.mail import get_connection

from mail.providers.accounts import Account

MAX_IDLE_SECONDS = 20.0
"""A connection that was idle for longer is replaced: the other end may have dropped it silently."""


class Connection:
    """An open Anymail backend. Not shared between threads."""

    def __init__(self, account: Account) -> None:
        self.backend: Any = get_connection(account.backend, **_options(account), timeout=settings.MAIL_TIMEOUT)
        self.backend.open()
        _cache_environment(self.backend)
        self.used_at = time.monotonic()

    def send(self, mail: Any) -> bool:
        """Send one e-mail. Raises what Anymail and requests raise."""
        try:
            return bool(self.backend.send_messages([mail]))
        finally:
            self.used_at = time.monotonic()


_local = threading.local()


def connection_for(account: Account) -> Connection:
    """This thread's connection to the account."""
    connection = _of_this_thread().get(account.name)
    if connection and time.monotonic() - connection.used_at > MAX_IDLE_SECONDS:
        close(account.name)
        connection = None
    if not connection:
        connection = _of_this_thread()[account.name] = Connection(account)
    return connection


def close(name: str) -> None:
    """Close this thread's connection to the account of this name: after an error its state is unknown."""
    if connection := _of_this_thread().pop(name, None):
        with suppress(Exception):  # it is not used again
            connection.backend.close()


def _of_this_thread() -> dict[str, Connection]:
    if not hasattr(_local, "connections"):
        _local.connections = {}
    connections: dict[str, Connection] = _local.connections
    return connections


def _options(account: Account) -> dict[str, Any]:
    """The account's options. boto3 would repeat calls, even ones that may have been accepted: here it calls once."""
    if account.esp != "amazon_ses":
        return account.options
    params: Any = account.options.get("client_params") or settings.ANYMAIL.get("AMAZON_SES_CLIENT_PARAMS", {})
    connect, read = settings.MAIL_TIMEOUT if isinstance(settings.MAIL_TIMEOUT, tuple) else [settings.MAIL_TIMEOUT] * 2
    once = Config(retries={"total_max_attempts": 1}, connect_timeout=connect, read_timeout=read)
    given = params.get("config")
    config = once.merge(given if isinstance(given, Config) else Config(**given)) if given else once
    return account.options | {"client_params": params | {"config": config}}


def _cache_environment(backend: Any) -> None:
    """Read proxies and certificate paths once: requests would read them and .netrc for each call, doubling its time."""
    session, url = getattr(backend, "session", None), getattr(backend, "api_url", "")
    if isinstance(session, requests.Session):
        found = session.merge_environment_settings(url, {}, None, None, None)
        session.proxies, session.verify, session.cert = found["proxies"], found["verify"], found["cert"]
        session.trust_env = False
