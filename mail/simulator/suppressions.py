"""Mailgun's own suppression lists, per domain. Mail to a listed address is accepted and fails at once."""

from dataclasses import dataclass

from mail.simulator.events import Event
from mail.simulator.forms import Address

LISTS = ("bounces", "complaints", "unsubscribes")
LIST_BY_EVENT = {"complained": "complaints", "unsubscribed": "unsubscribes"}


@dataclass(frozen=True, slots=True)
class Entry:
    """`code` and `error`: of a bounce."""

    address: str
    at: float
    code: str = ""
    error: str = ""


class Suppressions:
    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], dict[str, Entry]] = {}

    def entries(self, domain: str, name: str) -> dict[str, Entry]:
        """One list, by address in lower case."""
        return self._entries.setdefault((domain, name), {})

    def list_of(self, domain: str, recipient: Address) -> str:
        """The name of a list that contains this address, or ""."""
        return next((name for name in LISTS if recipient.spec.lower() in self.entries(domain, name)), "")

    def add_from(self, event: Event) -> None:
        """Add the recipient to the list that such an event leads to, if any."""
        domain, address = event.mail.domain, event.recipient.spec
        if event.step.hard_bounce:
            self.add(domain, "bounces", address, event.at, str(event.step.code), event.step.text)
        elif event.name in LIST_BY_EVENT:
            self.add(domain, LIST_BY_EVENT[event.name], address, event.at)

    def add(self, domain: str, name: str, address: str, at: float, code: str = "", error: str = "") -> None:
        self.entries(domain, name)[address.lower()] = Entry(address, at, code, error)

    def clear(self) -> None:
        self._entries.clear()
