"""E-mail addresses: how two spellings are known to be one, and how a log may name one."""

import hashlib
import json

import idna

LONGEST = 500
"""Characters of an address with its name."""
LONGEST_DOMAIN = 253
"""RFC 1035, 3.1, as it is written."""


def normalized(address: str) -> str:
    """The form in which addresses are compared: without case. No server in use tells Ada@ from ada@ (RFC 5321, 2.4)."""
    return address.strip().lower()


def digest(address: str) -> str:
    """What is left of an address when the person is forgotten: enough to know it again, not to write to it."""
    return hashlib.sha256(b"legwork suppression\0" + normalized(address).encode()).hexdigest()


def masked(address: str) -> str:
    """For logs and alerts: a***@example.org."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else "***"


def in_ascii(address: str) -> str:
    """For comparing: normalized, and with the domain as DNS has it (RFC 5890), where it has one that DNS could have."""
    local, at, domain = normalized(address).rpartition("@")
    return f"{local}{at}{_domain_in_ascii(domain)}"


def spellings(address: str) -> list[str]:
    """A normalized address and, where its domain has letters beyond ASCII, as people write it and as JSON may."""
    local, at, domain = address.rpartition("@")
    try:
        written = f"{local}{at}{idna.decode(domain)}"
    except UnicodeError:
        return [address]
    return list(dict.fromkeys([address, written, json.dumps(written)[1:-1]]))


def _domain_in_ascii(domain: str) -> str:
    """By IDNA 2008, as addresses are stored; what is longer than a domain may be would only cost time."""
    if domain.isascii() or len(domain) > LONGEST_DOMAIN:
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except UnicodeError:
        return domain
