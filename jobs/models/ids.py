"""Primary keys of our tables."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): ids sort by creation time."""
    return uuid7()
