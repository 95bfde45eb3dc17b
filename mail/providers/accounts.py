"""The accounts by which mail can be sent: what settings.MAIL_PROVIDERS says of them."""

from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Account:
    """One of settings.MAIL_PROVIDERS. probing: whether the next call is to find out if it works again."""

    name: str
    backend: str
    options: dict[str, Any]
    probing: bool = False

    @property
    def esp(self) -> str:
        """Anymail's name of the service: anymail.backends.mailgun.EmailBackend → mailgun."""
        return self.backend.split(".")[-2]

    @property
    def domains(self) -> list[str]:
        """All domains that it sends from."""
        if own := self.options.get("sender_domain"):
            return [str(own).lower()]
        return list(dict.fromkeys([address_domain(settings.MAIL_FROM).lower(), *settings.MAIL_FROM_DOMAINS]))

    def domain_for(self, sender: str) -> str:
        """What it sends this sender's mail from: its own domain, or else that of the address."""
        return str(self.options.get("sender_domain") or address_domain(sender)).lower()


def accounts() -> list[Account]:
    """In the order in which they are tried."""
    return [Account(**provider) for provider in settings.MAIL_PROVIDERS]


def account(name: str) -> Account | None:
    """None when it is not configured any more."""
    return next((found for found in accounts() if found.name == name), None)


def named(name: str) -> Account | None:
    """The account of this name, or else the first with the service of this name."""
    return account(name) or next((found for found in accounts() if found.esp == name), None)


def address_domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2]
