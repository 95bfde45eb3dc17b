"""The demo's mails: one of each fate, and what the list of suppressed addresses is for."""

from collections.abc import Collection
from typing import Any

from demo.client import Client, UnexpectedAnswerError
from demo.eventually import eventually
from demo.screen import say, step, timeline

DOMAIN = "example.org"
FATES = {"grace": "delivered", "defer": "delivered", "bounce": "bounced", "complain": "complained"}
"""What becomes of a mail, by the local part of its recipient; the simulated Mailgun decides by it."""
ON_THE_WAY = {"defer": {"deferred"}}
"""What its timeline has to tell of besides."""
WITHIN = 180
"""Seconds; a few are enough, unless the machine has more to do than this."""


def show_mail(client: Client) -> None:
    step("It posts four e-mails: POST /api/v1/mail/messages/; a simulated Mailgun delivers them, or does not")
    urls = {local: _post(client, local) for local in FATES}
    for local, fate in FATES.items():
        _show(_arrived(client, urls[local], fate, ON_THE_WAY.get(local, set())))
    step("The address that bounced is on the list now; the next mail to it is not even tried")
    message = _arrived(client, _post(client, "bounce"), "suppressed")
    _show(message)
    if any(entry["type"].startswith("attempt") for entry in message["timeline"]):
        raise UnexpectedAnswerError("A suppressed address was written to.")


def _post(client: Client, local: str) -> str:
    order = {
        "to": f"{local}@{DOMAIN}",
        "subject": "Hello {{ name }}",
        "text": "Dear {{ name }}, this is a demonstration.",
        "html": "<p>Dear <b>{{ name }}</b>, this is a demonstration.</p>",
        "context": {"name": local.title()},
    }
    url: str = client.post("mail/messages/", order, expect=202).headers["Location"]
    return url


def _arrived(client: Client, url: str, fate: str, events: Collection[str] = ()) -> dict[str, Any]:
    """The message, once this has become of it, and these events have been told of."""

    def seen() -> dict[str, Any] | None:
        message: dict[str, Any] = client.get(url, expect=200).json()
        told = {entry["type"] for entry in message["timeline"]}
        return message if message["status"] == fate and told.issuperset(events) else None

    message = eventually(seen, WITHIN, f"the end of {url} as {fate}", pause=0.25)
    if message is None:
        raise UnexpectedAnswerError(f"{url} has not become {fate}.")
    return message


def _show(message: dict[str, Any]) -> None:
    say(f"{message['to']}: [bold]{message['status']}[/]")
    timeline(message["timeline"])
