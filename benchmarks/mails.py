"""The mails that are measured: the same for every peer. Standard library only."""

from collections.abc import Iterator

SUBJECT = "Your order has left our house"
TEXT = "Good day,\n\nwhat you ordered is on its way to you.\n\n" + "It will take two days, or three.\n" * 20


def addresses(count: int) -> Iterator[str]:
    """So many different addresses."""
    return (f"reader{number}@example.org" for number in range(count))
