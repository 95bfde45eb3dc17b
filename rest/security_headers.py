"""Header fields for browsers that every response gets, whichever layer makes it. Pure."""

from collections.abc import Iterable

Fields = list[tuple[bytes, bytes]]

NOTHING_ALLOWED = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The content security policy of JSON, errors and files. Pages have their own from django-csp."""
FIELDS: Fields = [
    (b"content-security-policy", NOTHING_ALLOWED),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def hsts(seconds: int, *, preload: bool) -> Fields:
    """Strict-Transport-Security for so many seconds; nothing for 0."""
    if not seconds:
        return []
    value = f"max-age={seconds}; includeSubDomains{'; preload' if preload else ''}"
    return [(b"strict-transport-security", value.encode())]


def with_security_headers(headers: Iterable[tuple[bytes, bytes]], fields: Fields) -> Fields:
    """The headers, plus each of these fields that they lack. Names in lower case."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return [*given, *(field for field in fields if field[0] not in names)]
