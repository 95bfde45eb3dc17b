"""How many streams and held responses each user has in this web process: one user must not take all its connections."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

USER_KEY = "legwork.user"
"""Key in a request's ASGI scope of the user's id, which a middleware puts there."""

_by_user: Counter[object] = Counter()
"""Changed on the event loop only."""


def watches_of(user: object) -> int:
    return _by_user[user]


@contextmanager
def another_watch(user: object) -> Iterator[bool]:
    """False if the user has as many as allowed; otherwise one more is counted until the end of the block."""
    has_room = _by_user[user] < settings.MAX_WATCHES
    _by_user[user] += has_room
    try:
        yield has_room
    finally:
        _by_user[user] -= has_room
        if not _by_user[user]:
            del _by_user[user]
