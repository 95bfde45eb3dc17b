"""What tests of sending share: providers that are simulators, and running the job of a message."""

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
"""A URL at which connections are refused: the port of the discard service."""


def provider(api_url: str, name: str = "mailgun", backend: str = MAILGUN, **options: str) -> dict[str, Any]:
    """An entry of settings.MAIL_PROVIDERS."""
    usual = {"api_key": API_KEY, "api_url": api_url, "sender_domain": DOMAIN}
    return {"name": name, "backend": backend, "options": usual | options}


@contextmanager
def sending_by(settings: Any, *entries: dict[str, Any]) -> Iterator[None]:
    """Use these providers, of which nothing is known yet."""
    settings.MAIL_PROVIDERS = list(entries)
    breakers.invalidate_cache()
    try:
        yield
    finally:
        for entry in entries:
            connections.close(entry["name"])
        breakers.invalidate_cache()


def work_on(message: Message, times: int = 1, prepared: bool = True) -> float:
    """Run the message's job at most so often, as an I/O worker does, without waiting in between.

    Returns the seconds that the job wants to wait then, 0 if it is done. prepared: a first attempt that needs nothing
    else is begun before the job.
    """
    wait = 0.0
    for _ in range(times):
        try:
            call = begin([message.pk]).get(message.pk) if prepared else None
            conclude([send.send(call or message.pk)])
            wait = 0.0
            break
        except RetryAfter as error:
            wait = error.seconds
    message.refresh_from_db()
    return wait


def work_until_it_rests(message: Message, within: float = 60) -> Message:
    """Run the message's job until it is done, waiting as long as it asks to."""
    until = time.monotonic() + within
    while wait := work_on(message):
        assert time.monotonic() + wait < until, f"{message.status} would take {wait} s more"
        time.sleep(wait)
    return message


def classes(message: Message) -> list[tuple[str, str]]:
    """The outcome and the class of failure of each attempt."""
    return list(message.attempts.values_list("outcome", "failure_class"))
