"""What tests of the sending side share: providers that are simulators, and how to work on a message until it rests."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobs.errors import RetryAfter
from mail.models import Message
from mail.providers import breakers, connections
from mail.sending import send
from mail.sending.batches import begin, conclude
from tests.support.servers.simulator import API_KEY, DOMAIN

MAILGUN = "anymail.backends.mailgun.EmailBackend"
NOBODY = "http://127.0.0.1:9/v3"
"""Where no connection is taken: the port of the discard service."""


def provider(api_url: str, name: str = "mailgun", backend: str = MAILGUN, **options: str) -> dict[str, Any]:
    """An entry of settings.MAIL_PROVIDERS."""
    usual = {"api_key": API_KEY, "api_url": api_url, "sender_domain": DOMAIN}
    return {"name": name, "backend": backend, "options": usual | options}


@contextmanager
def sending_by(settings: Any, *entries: dict[str, Any]) -> Iterator[None]:
    """These are the providers, and nothing is known of them yet."""
    settings.MAIL_PROVIDERS = list(entries)
    breakers.invalidate_cache()
    try:
        yield
    finally:
        for entry in entries:
            connections.close(entry["name"])
        breakers.invalidate_cache()


def work_on(message: Message, times: int = 1, prepared: bool = True) -> float:
    """Let the job run so often, as an I/O worker does; the seconds for which it then asks to be left alone, 0 if done.

    prepared: a first call that needs nothing else is begun before the job is.
    """
    wait = 0.0
    for _ in range(times):
        try:
            call = begin([message.pk]).get(message.pk) if prepared else None
            conclude([send.send(message.pk, call)])
            wait = 0.0
            break
        except RetryAfter as error:
            wait = error.seconds
    message.refresh_from_db()
    return wait


def work_until_it_rests(message: Message, within: float = 60) -> Message:
    """Run the job when it asks to, in its own time."""
    until = time.monotonic() + within
    while wait := work_on(message):
        assert time.monotonic() + wait < until, f"{message.status} would take {wait} s more"
        time.sleep(wait)
    return message


def classes(message: Message) -> list[tuple[str, str]]:
    """Of each attempt: its outcome and class of failure."""
    return list(message.attempts.values_list("outcome", "failure_class"))
