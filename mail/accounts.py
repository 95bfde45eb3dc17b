"""Our accounts with providers, as the settings name them: of which service each is, and what it may send from."""

from dataclasses import dataclass
from email.utils import parseaddr

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Account:
    """One of MAIL_PROVIDERS. esp: Anymail's name of the service: mailgun, sendgrid, …"""

    name: str
    esp: str
    options: dict[str, str]

    def domain(self, sender: str) -> str:
        """What it sends from for this sender: its own domain, or else that of the sender's address."""
        return (self.options.get("sender_domain") or parseaddr(sender)[1].rpartition("@")[2]).lower()


def called(name: str) -> Account | None:
    """The account of exactly this name."""
    return next((account for account in _all() if account.name == name), None)


def named(name: str) -> Account | None:
    """The account of this name, or else the first with the service of this name."""
    return called(name) or next((account for account in _all() if account.esp == name), None)


def _all() -> list[Account]:
    return [
        # anymail.backends.mailgun.EmailBackend → mailgun
        Account(provider["name"], provider["backend"].split(".")[-2], provider["options"])
        for provider in settings.MAIL_PROVIDERS
    ]
