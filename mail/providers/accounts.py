"""The provider accounts of settings.MAIL_PROVIDERS."""

from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Account:
    """One of settings.MAIL_PROVIDERS. probing: the next call is the probe of its open breaker."""

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
        return list(dict.fromkeys(map(str.lower, [address_domain(settings.MAIL_FROM), *settings.MAIL_FROM_DOMAINS])))

    def domain_for(self, sender: str) -> str:
        """The domain that it sends this sender's mail from: its own if it has one, else that of the address."""
        return str(self.options.get("sender_domain") or address_domain(sender)).lower()


def accounts() -> list[Account]:
    """In order of preference."""
    return [Account(**provider) for provider in settings.MAIL_PROVIDERS]


def find(name: str) -> Account | None:
    """The account of this name; None if it is not configured any more."""
    return next((account for account in accounts() if account.name == name), None)


def find_by_name_or_service(name: str) -> Account | None:
    """The account of this name, or else the first with the service of this name."""
    return find(name) or next((account for account in accounts() if account.esp == name), None)


def address_domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2]
