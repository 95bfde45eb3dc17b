"""Bodies of POST requests, urlencoded or multipart, as fields and files. Pure."""

from dataclasses import dataclass, field
from io import BytesIO
from urllib.parse import parse_qs

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler, MemoryFileUploadHandler, TemporaryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from mail.simulator.http import RefusedError

MOST_FIELDS = 5000


@dataclass(frozen=True, slots=True)
class File:
    field: str
    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """Every value of every field, in the order in which they came."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return self.fields.get(name, [])

    def first(self, name: str, default: str = "") -> str:
        return self.fields.get(name, [default])[0]

    def starting(self, prefix: str) -> dict[str, str]:
        """The first value of each field whose name starts so, by the rest of its name."""
        return {name.removeprefix(prefix): values[0] for name, values in self.fields.items() if name.startswith(prefix)}


def read_form(content_type: str, body: bytes) -> Form:
    """RefusedError(400) for a body that is not what it says."""
    try:
        if content_type.lower().startswith("multipart/"):
            return _multipart(content_type, body)
        text = body.decode(errors="replace")
        return Form(parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except (BadRequest, MultiPartParserError, SuspiciousOperation, ValueError) as error:
        raise RefusedError(400, f"The form cannot be read: {error}") from None


def _multipart(content_type: str, body: bytes) -> Form:
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
