"""Where URLs in responses lead: scheme and host as the client used them."""

from dataclasses import dataclass
from typing import Protocol


class Site(Protocol):
    """What URLs in responses need of a request."""

    def build_absolute_uri(self, location: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """A Site that does not keep the whole request alive. root: scheme and host."""

    root: str

    def build_absolute_uri(self, location: str, /) -> str:
        return self.root + location
