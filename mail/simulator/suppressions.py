"""Mailgun's own lists of addresses, per domain: it accepts mail to them and lets it fail at once."""

from dataclasses import dataclass

from mail.simulator.addresses import Address
from mail.simulator.events import Event

LISTS = ("bounces", "complaints", "unsubscribes")
LED_TO = {"complained": "complaints", "unsubscribed": "unsubscribes"}


@dataclass(frozen=True, slots=True)
class Entry:
    """`code` and `error` are those of the bounce."""

    address: str
    at: float
    code: str = ""
    error: str = ""


class Suppressions:
    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], dict[str, Entry]] = {}

    def entries(self, domain: str, name: str) -> dict[str, Entry]:
        """One list, by address in small letters."""
        return self._entries.setdefault((domain, name), {})

    def list_of(self, domain: str, recipient: Address) -> str:
        """The name of the list on which this address stands, or ""."""
        return next((name for name in LISTS if recipient.spec.lower() in self.entries(domain, name)), "")

    def learn(self, event: Event) -> None:
        """Puts the address on the list that an event like this one leads to, if there is one."""
        domain, address = event.mail.domain, event.recipient.spec
        if event.step.hard_bounce:
            self.add(domain, "bounces", address, event.at, str(event.step.code), event.step.text)
        elif event.name in LED_TO:
            self.add(domain, LED_TO[event.name], address, event.at)

    def add(self, domain: str, name: str, address: str, at: float, code: str = "", error: str = "") -> None:
        self.entries(domain, name)[address.lower()] = Entry(address, at, code, error)

    def clear(self) -> None:
        self._entries.clear()
