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


def test_a_deferred_mail_has_been_deferred_before_it_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "WITHIN", 0)
    monkeypatch.setattr(mail, "FATES", {"defer": "delivered"})
    for events, passes in ((["delivered"], False), (["deferred", "delivered"], True)):
        client: Any = Client(defer=("delivered", events), bounce=("suppressed", ["suppressed"]))
        if passes:
            mail.show_mail(client)
        else:
            with pytest.raises(TooLateError, match="defer@"):
                mail.show_mail(client)
