"""Forms of an e-mail address: one for comparing, a digest for remembering, a mask for logs. Pure."""

import hashlib
import json

import idna

MAX_ADDRESS_LENGTH = 500
"""Characters, display name included."""
MAX_DOMAIN_LENGTH = 253
"""Characters in text form (RFC 1035, 3.1)."""


def normalize_address(address: str) -> str:
    """Lower case, for comparing. No mail server in use distinguishes Ada@ from ada@ (RFC 5321, 2.4)."""
    return address.strip().lower()


def address_digest(address: str) -> str:
    """SHA-256 of the normalized address. Kept when a person is forgotten, to recognize their address."""
    return hashlib.sha256(b"legwork suppression\0" + normalize_address(address).encode()).hexdigest()


def mask_address(address: str) -> str:
    """For logs and alerts: a***@example.org."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}***{at}{domain}" if at else "***"


def ascii_address(address: str) -> str:
    """Normalized, with the domain in ASCII (IDNA 2008), as addresses are stored. An invalid domain stays as it is."""
    local, at, domain = normalize_address(address).rpartition("@")
    if domain.isascii() or len(domain) > MAX_DOMAIN_LENGTH:  # encoding a longer one only costs time
        return f"{local}{at}{domain}"
    try:
        return f"{local}{at}{idna.encode(domain, uts46=True).decode()}"
    except UnicodeError:
        return f"{local}{at}{domain}"


def address_spellings(address: str) -> list[str]:
    """How text may contain a normalized address: its domain in ASCII, in Unicode, or in Unicode escaped by JSON."""
    local, at, domain = address.rpartition("@")
    try:
        written = f"{local}{at}{idna.decode(domain)}"
    except UnicodeError:
        return [address]
    return list(dict.fromkeys([address, written, json.dumps(written)[1:-1]]))
