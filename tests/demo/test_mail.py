"""The demo's mails: it passes only when each has its final status and the events that lead to it."""

from types import SimpleNamespace
from typing import Any

import pytest

from demo import mail
from demo.eventually import TooLateError


class Client:
    """An API in which mail has the status and the events that are given here for its local part."""

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
    """The demo waits for one mail, and for no time."""
    monkeypatch.setattr(mail, "MAX_DELAY", 0)
    monkeypatch.setattr(mail, "OUTCOMES", {"defer": "delivered"})


def show(*events: str) -> None:
    client: Any = Client(defer=("delivered", list(events)), bounce=("suppressed", ["suppressed"]))
    mail.show_mail(client)


def test_a_mail_that_was_deferred_and_delivered_passes() -> None:
    show("deferred", "delivered")


def test_a_mail_that_was_delivered_without_being_deferred_does_not_pass() -> None:
    with pytest.raises(TooLateError, match="defer@"):
        show("delivered")
