"""The demo's mails: it does not pass before each has had its fate, and what leads there."""

from types import SimpleNamespace
from typing import Any

import pytest

from demo import mail
from demo.eventually import TooLateError


class Client:
    """An API where mail to each local part has the status and the events that are said here."""

    def __init__(self, **messages: tuple[str, list[str]]) -> None:
        self.messages = messages

    def post(self, path: str, order: dict[str, str], *, expect: int) -> Any:
        return SimpleNamespace(headers={"Location": order["to"]})

    def get(self, url: str, *, expect: int) -> Any:
        status, events = self.messages[url.partition("@")[0]]
        entries = [{"at": "2026-01-01T00:00:00Z", "type": event, "detail": "", "provider": None} for event in events]
        return SimpleNamespace(json=lambda: {"to": url, "status": status, "timeline": entries})


@pytest.fixture(autouse=True)
def one_deferred_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no patience."""
    monkeypatch.setattr(mail, "MAX_DELAY", 0)
    monkeypatch.setattr(mail, "OUTCOMES", {"defer": "delivered"})


def show(*events: str) -> None:
    client: Any = Client(defer=("delivered", list(events)), bounce=("suppressed", ["suppressed"]))
    mail.show_mail(client)


def test_a_mail_that_was_deferred_and_delivered_passes() -> None:
    show("deferred", "delivered")


def test_a_mail_that_was_only_delivered_does_not() -> None:
    with pytest.raises(TooLateError, match="defer@"):
        show("delivered")
