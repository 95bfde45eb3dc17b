"""E-mail addresses as they stand in a form: a name and the address itself. Pure."""

import re
from collections.abc import Iterable
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import getaddresses
from typing import NamedTuple

from mail.simulator.http import RefusedError

VALID = re.compile(r"[^\s@<>(),:;\"\\\[\]]+@(?:[^\s@<>(),:;\"\\\[\].]+\.)*[^\s@<>(),:;\"\\\[\].]+")


class Address(NamedTuple):
    name: str
    spec: str

    @property
    def local(self) -> str:
        return self.spec.partition("@")[0].lower()

    @property
    def domain(self) -> str:
        return self.spec.partition("@")[2].lower()

    def __str__(self) -> str:
        return f"{self.name} <{self.spec}>" if self.name else self.spec


def read_addresses(field: str, values: Iterable[str]) -> list[Address]:
    """RefusedError(400) in Mailgun's words if there is one that no mail can be sent to."""
    addresses = [Address(_decoded(name), spec) for name, spec in getaddresses(list(values)) if name or spec]
    if not all(VALID.fullmatch(address.spec) for address in addresses):
        raise RefusedError(400, f"{field} parameter is not a valid address. please check documentation")
    return addresses


def _decoded(name: str) -> str:
    """A name that is encoded as RFC 2047 says, in plain letters."""
    try:
        plain = str(make_header(decode_header(name))) if "=?" in name else name
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        plain = name
    return plain.encode(errors="replace").decode()
