"""Finds one e-mail address in text and JSON, as a whole: diana@b.com does not mention ana@b.co."""

import re
from collections.abc import Mapping

import orjson

from mail.addresses.normalize import address_spellings

BEFORE = r"(?<![\w.])(?<!\w[!#$%&'*+/?^`{|}~-])"
"""Not inside a longer local part, which may contain these characters too (RFC 5322, 3.2.3)."""
AFTER = r"(?![\w-]|\.\w)"
"""Not inside a longer domain."""


class Mentions:
    """Finds and replaces an address. spellings: how text may contain it, for a database search."""

    def __init__(self, address: str) -> None:
        self.spellings = address_spellings(address)
        self._pattern = re.compile(f"{BEFORE}(?:{'|'.join(map(re.escape, self.spellings))}){AFTER}", re.IGNORECASE)

    def in_text(self, text: str) -> bool:
        return self._pattern.search(text) is not None

    def in_value(self, value: object) -> bool:
        """Whether a string or a name in this JSON value mentions the address."""
        match value:
            case str():
                return self.in_text(value)
            case Mapping():
                return any(self.in_value(part) for pair in value.items() for part in pair)
            case list() | tuple():
                return any(map(self.in_value, value))
        return False

    def in_json(self, text: str) -> bool:
        """As in_value(), for a JSON document. Text that is not JSON is searched as it is."""
        try:
            return self.in_value(orjson.loads(text))
        except orjson.JSONDecodeError:
            return self.in_text(text)

    def replaced(self, text: str, by: str) -> str:
        return self._pattern.sub(lambda _: by, text)
