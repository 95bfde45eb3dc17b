"""Our accounts as webhooks and events see them: of which service each is, and what it sends from."""

from email.utils import parseaddr

from mail.providers import Account, account, accounts


def named(name: str) -> Account | None:
    """The account of this name, or else the first with the service of this name."""
    return account(name) or next((found for found in accounts() if esp(found) == name), None)


def esp_of(name: str) -> str:
    """Anymail's name of the service of the account with this name, which may not be configured any more."""
    found = account(name)
    return esp(found) if found else name


def esp(found: Account) -> str:
    """anymail.backends.mailgun.EmailBackend → mailgun."""
    return found.backend.split(".")[-2]


def domain_of(name: str, sender: str) -> str:
    """What the account of this name sends from for this sender: its own domain, or else that of the address."""
    found = account(name)
    own = found.options.get("sender_domain") if found else None
    return str(own or parseaddr(sender)[1].rpartition("@")[2]).lower()
