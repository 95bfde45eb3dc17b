"""The mail part of the demo: a message for each outcome, then one to an address that is now suppressed."""

from collections.abc import Collection
from typing import Any

from demo.client import Client, UnexpectedAnswerError
from demo.eventually import eventually
from demo.screen import say, step, timeline

DOMAIN = "example.org"
OUTCOMES = {"grace": "delivered", "defer": "delivered", "bounce": "bounced", "complain": "complained"}
"""The final status by the local part of the recipient, by which the simulated Mailgun chooses it."""
REQUIRED_EVENTS = {"defer": {"deferred"}}
"""Further events that the timeline must contain."""
MAX_DELAY = 180
"""Seconds; a few are enough unless the machine is busy with other work."""


def show_mail(client: Client) -> None:
    step("It posts four e-mails: POST /api/v1/mail/messages/; a simulated Mailgun delivers or bounces them")
    urls = {local: _post(client, local) for local in OUTCOMES}
    for local, outcome in OUTCOMES.items():
        _show(_wait_for(client, urls[local], outcome, REQUIRED_EVENTS.get(local, set())))
    step("The address that bounced is now suppressed: the next mail to it is not sent")
    message = _wait_for(client, _post(client, "bounce"), "suppressed")
    _show(message)
    if any(entry["type"].startswith("attempt") for entry in message["timeline"]):
        raise UnexpectedAnswerError("A message was sent to a suppressed address.")


def _post(client: Client, local: str) -> str:
    body = {
        "to": f"{local}@{DOMAIN}",
        "subject": "Hello {{ name }}",
        "text": "Dear {{ name }}, this is a demonstration.",
        "html": "<p>Dear <b>{{ name }}</b>, this is a demonstration.</p>",
        "context": {"name": local.title()},
    }
    url: str = client.post("mail/messages/", body, expect=202).headers["Location"]
    return url


def _wait_for(client: Client, url: str, outcome: str, events: Collection[str] = ()) -> dict[str, Any]:
    """Wait until the message has this status and its timeline contains these events."""

    def finished() -> dict[str, Any] | None:
        message: dict[str, Any] = client.get(url, expect=200).json()
        seen = {entry["type"] for entry in message["timeline"]}
        return message if message["status"] == outcome and seen.issuperset(events) else None

    message = eventually(finished, MAX_DELAY, f"the end of {url} as {outcome}", pause=0.25)
    if message is None:
        raise UnexpectedAnswerError(f"{url} has not become {outcome}.")
    return message


def _show(message: dict[str, Any]) -> None:
    say(f"{message['to']}: [bold]{message['status']}[/]")
    timeline(message["timeline"])
