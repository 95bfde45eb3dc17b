"""Parses sender and recipient addresses. A recipient is refused if DNS says that its domain takes no mail."""

import re
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches

from django.conf import settings
from email_validator import EmailNotValidError, validate_email

from mail.addresses import domains
from mail.addresses.normalize import MAX_ADDRESS_LENGTH, ascii_address, normalize_address

POPULAR_DOMAINS = (
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
"""Suggested for a similar domain that takes no mail: most likely a typo."""

NAMED_MAILBOX = re.compile(r'(?:"(?:[^"\\]|\\.)*+"\s*+|[^()<>\[\]:;@\\,"]*+)<([^<>]*)>')
"""A mailbox with a display name, quoted or not (RFC 5322, 3.4). Group 1 is the address in angle brackets.

Its quantifiers are possessive (no backtracking), so that the time grows with the text and not with its square.
"""


NOT_ASCII = "The part before the @ may only contain ASCII characters: not every mail server takes others."


class BadAddress(ValueError):
    """An address cannot be used; the message is a sentence. code: invalid, max_length, undeliverable or sender."""

    def __init__(self, detail: str, code: str = "invalid") -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Mailbox:
    """written: as it was given, perhaps with a display name. address: bare, normalized, with its domain in ASCII."""

    written: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def parse_mailbox(text: str) -> Mailbox:
    """One mailbox, with or without a display name: `Ada <ada@example.org>`. Raises BadAddress."""
    if len(text) > MAX_ADDRESS_LENGTH:
        raise BadAddress(f"An address has at most {MAX_ADDRESS_LENGTH} characters.", "max_length")
    if has_control_characters(text):
        raise BadAddress("An address may not contain line breaks or other control characters.")
    bare = named[1] if (named := NAMED_MAILBOX.fullmatch(text.strip())) else text.strip()
    if not bare.rpartition("@")[0].isascii():
        raise BadAddress(NOT_ASCII)
    try:
        found = validate_email(
            bare,
            strict=True,
            check_deliverability=False,
            test_environment=not settings.MAIL_CHECK_DNS,  # allows *.test, which no DNS knows
        )
    except EmailNotValidError as error:
        raise BadAddress(str(error)) from None
    if found.ascii_email is None:
        raise BadAddress(NOT_ASCII)
    return Mailbox(text.strip(), normalize_address(found.ascii_email))


def parse_deliverable(text: str) -> Mailbox:
    """A mailbox whose domain takes mail. Without an answer from DNS it is let through. Raises BadAddress."""
    mailbox = parse_mailbox(text)
    if settings.MAIL_CHECK_DNS and (reason := domains.undeliverable_reason(mailbox.domain)):
        raise BadAddress(f"{reason}{_typo_hint(mailbox.domain)}", "undeliverable")
    return mailbox


def look_up_domains(texts: list[str]) -> None:
    """Query DNS for the domains of many addresses in parallel, so that parse_deliverable() finds them cached."""
    if settings.MAIL_CHECK_DNS:
        possible = [text.strip(" >") for text in texts if "@" in text and len(text) <= MAX_ADDRESS_LENGTH]
        ascii_only = map(ascii_address, possible)
        domains.look_up_all({address.rpartition("@")[2] for address in ascii_only})


def has_control_characters(text: str) -> bool:
    """Line breaks above all: one in a header field lets the sender inject further header fields."""
    return any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text)


def _typo_hint(domain: str) -> str:
    meant = get_close_matches(domain, POPULAR_DOMAINS, n=1, cutoff=0.8)
    return f" Was {meant[0]} meant?" if meant and meant[0] != domain else ""
