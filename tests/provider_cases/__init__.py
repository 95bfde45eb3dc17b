"""Every failure that providers are known to tell of, as payload or answer, and what follows from it: tests and
docs/mail-failures.md are made of these tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SECRET = "legwork:a-secret"
DOMAIN = "mg.example.org"
LATER, LATER_BY = "{later}", 1200
"""In an answer: the date of so many seconds from when it is given, as Mailgun writes it."""


@dataclass(frozen=True)
class Told:
    """An event. said: for people. payload: the provider's own fields. kind: the class; empty for no failure.

    status: what the message is in the end, where the class alone does not say.
    """

    said: str
    payload: Mapping[str, Any]
    kind: str
    status: str = ""


@dataclass(frozen=True)
class Answered:
    """An answer of the API. body: a text, or what is sent as JSON."""

    said: str
    status: int
    body: Any
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: int | None = None


@dataclass(frozen=True)
class Provider:
    """options: of the account, but for api_url, which is written with {url} in it."""

    esp: str
    name: str
    options: Mapping[str, Any]
    events: tuple[Told, ...]
    answers: tuple[Answered, ...]
    webhook: Any
    """From an attempt and a payload to the body of the webhook and its header fields."""
