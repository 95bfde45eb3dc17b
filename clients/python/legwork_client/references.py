"""What callers name things by, and give as values, in the form of the API."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

Item = TypeVar("Item")


def path_of(collection: str, reference: Mapping[str, Any] | str) -> str:
    """The path or URL of a resource that is given as itself, by its id or by its URL. Ends with a slash."""
    if isinstance(reference, Mapping):
        return str(reference["url"])
    return reference if "/" in reference else f"{collection}/{reference}/"


def given(**options: object) -> dict[str, object]:
    """The options that are not None, in JSON: times as RFC 3339; one without a time zone is local time."""
    return {name: _as_json(value) for name, value in options.items() if value is not None}


def portions(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _as_json(value: object) -> object:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
