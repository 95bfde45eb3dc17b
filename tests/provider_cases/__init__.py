"""Every failure that providers are known to report, as payload or answer, and what follows from it: tests and
docs/mail-failures.md are made of these tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SECRET = "legwork:a-secret"
DOMAIN = "mg.example.org"
LATER, LATER_BY = "{later}", 1200
"""LATER in a body stands for the date LATER_BY seconds after the answer, as Mailgun writes it."""


@dataclass(frozen=True)
class Told:
    """An event. said: its text in the page. payload: the provider's own fields. kind: the class; empty for no failure.

    status: the final status of the message, if it does not follow from the class.
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
    """options: those of the account; api_url contains {url}, which stands for the test's server. note: for the page."""

    esp: str
    name: str
    options: Mapping[str, Any]
    events: tuple[Told, ...]
    answers: tuple[Answered, ...]
    webhook: Any
    """A function of an attempt and a payload that returns the webhook's body and header fields."""
    note: str = ""
