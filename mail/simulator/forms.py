"""Bodies of POST requests, urlencoded or multipart, and the values in them: addresses and dates. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import getaddresses, parsedate_to_datetime
from io import BytesIO
from typing import NamedTuple
from urllib.parse import parse_qs

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler, MemoryFileUploadHandler, TemporaryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from mail.simulator.http import Request, RequestError

MAX_FIELDS = 5000
VALID_ADDRESS = re.compile(r"[^\s@<>(),:;\"\\\[\]]+@(?:[^\s@<>(),:;\"\\\[\].]+\.)*[^\s@<>(),:;\"\\\[\].]+")


@dataclass(frozen=True, slots=True)
class File:
    field: str
    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """All values of all fields, in the order in which they came."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return self.fields.get(name, [])

    def first(self, name: str, default: str = "") -> str:
        return self.fields.get(name, [default])[0]

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """The first value of each field whose name has this prefix, by the name without it."""
        return {name.removeprefix(prefix): values[0] for name, values in self.fields.items() if name.startswith(prefix)}


def read_form(request: Request) -> Form:
    """Raises RequestError(400) if the body does not match its content type."""
    content_type = request.headers.get("content-type", "")
    try:
        if content_type.lower().startswith("multipart/"):
            return _read_multipart(content_type, request.body)
        text = request.body.decode(errors="replace")
        return Form(parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except (BadRequest, MultiPartParserError, SuspiciousOperation, ValueError) as error:
        raise RequestError(400, f"The form cannot be read: {error}") from None


def _read_multipart(content_type: str, body: bytes) -> Form:
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    handlers: list[FileUploadHandler] = [MemoryFileUploadHandler(), TemporaryFileUploadHandler()]
    fields, files = MultiPartParser(meta, BytesIO(body), handlers).parse()
    return Form(
        {name: [str(value) for value in values] for name, values in fields.lists()},
        [
            File(name, part.name or "", part.content_type or "application/octet-stream", part.read())
            for name, parts in files.lists()
            for part in parts
        ],
    )


class Address(NamedTuple):
    """A display name, perhaps empty, and the address itself."""

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
    """Raises RequestError(400), in Mailgun's words, if one of them is invalid."""
    addresses = [Address(_decode_name(name), spec) for name, spec in getaddresses(list(values)) if name or spec]
    if not all(VALID_ADDRESS.fullmatch(address.spec) for address in addresses):
        raise RequestError(400, f"{field} parameter is not a valid address. please check documentation")
    return addresses


def _decode_name(name: str) -> str:
    """A display name, decoded if it is an encoded word (RFC 2047)."""
    try:
        plain = str(make_header(decode_header(name))) if "=?" in name else name
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        plain = name
    return plain.encode(errors="replace").decode()


def read_date(field: str, given: str) -> float | None:
    """Seconds since the epoch, from an RFC 2822 date or such seconds as text. None for an empty text."""
    if not given:
        return None
    try:
        return float(given) if given.replace(".", "", 1).isdecimal() else parsedate_to_datetime(given).timestamp()
    except (ValueError, OverflowError):
        raise RequestError(400, f"{field} parameter is not a valid date") from None
