"""Whom mail is for and from: the syntax of addresses, and whether a domain takes mail at all."""

import re
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches

from django.conf import settings
from email_validator import EmailNotValidError, validate_email

from mail.addresses import domains, normalize

POPULAR = (
    "gmail.com",
    "googlemail.com",
    "hotmail.com",
    "outlook.com",
    "live.com",
    "yahoo.com",
    "icloud.com",
    "aol.com",
    "gmx.de",
    "gmx.net",
    "web.de",
    "t-online.de",
    "proton.me",
    "protonmail.com",
)
"""Domains that are often meant when another one was written."""


NAMED = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^()<>\[\]:;@\\,"]*)\s*<([^<>]*)>')
"""A mailbox with its name, in quotes or not (RFC 5322, 3.4); what is in angle brackets is the address."""


class BadAddress(ValueError):
    """Says what is wrong with an address, in a sentence. code: invalid, or undeliverable."""

    def __init__(self, detail: str, code: str = "invalid") -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name before it, if there is one. address: normalized, its domain in ASCII."""

    written: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def parsed(text: str) -> Mailbox:
    """One mailbox, with or without a name: `Ada <ada@example.org>`. Raises BadAddress."""
    if has_control_characters(text):
        raise BadAddress("An address has no line breaks and no other control characters.")
    try:
        found = validate_email(
            named[1] if (named := NAMED.fullmatch(text.strip())) else text.strip(),
            strict=True,
            check_deliverability=False,
            test_environment=not settings.MAIL_CHECK_DNS,  # so that *.test, which no DNS knows, can be written to
        )
    except EmailNotValidError as error:
        raise BadAddress(str(error)) from None
    if found.ascii_email is None:
        raise BadAddress("The part before the @ has characters that not every mail server takes.")
    return Mailbox(text.strip(), normalize.normalized(found.ascii_email))


def deliverable(text: str) -> Mailbox:
    """A mailbox whose domain takes mail, as far as can be known. Raises BadAddress."""
    mailbox = parsed(text)
    if settings.MAIL_CHECK_DNS and (reason := domains.refusal(mailbox.domain)):
        raise BadAddress(f"{reason}{_hint(mailbox.domain)}", "undeliverable")
    return mailbox


def look_up(texts: list[str]) -> None:
    """Ask for the domains of many addresses at once, so that deliverable() finds them known."""
    if settings.MAIL_CHECK_DNS:
        possible = [text.strip(" >") for text in texts if "@" in text and len(text) <= normalize.LONGEST]
        ascii_only = map(normalize.in_ascii, possible)
        domains.look_up({address.rpartition("@")[2] for address in ascii_only})


def has_control_characters(text: str) -> bool:
    """Line breaks above all: whoever gets one into a header field writes header fields of his own."""
    return any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text)


def _hint(domain: str) -> str:
    meant = get_close_matches(domain, POPULAR, n=1, cutoff=0.8)
    return f" Was {meant[0]} meant?" if meant and meant[0] != domain else ""
