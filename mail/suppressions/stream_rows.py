"""Suppressions of streams, as they stand in a file: read by mail.suppressions.files."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth import get_user_model

from mail.addresses.normalize import address_digest
from mail.models import Stream, StreamSuppression
from mail.models.stream import STREAM_NAME

Problem = tuple[str, str]
"""Field, and a sentence."""


@dataclass(frozen=True, slots=True)
class StreamRow:
    """user: a user name. source: empty for that of the whole file."""

    user: str
    stream: str
    address: str
    since: datetime
    source: str


def import_rows(rows: Mapping[int, StreamRow], *, source: str) -> tuple[int, dict[int, Problem]]:
    """Suppress these for their streams. Returns how many are new, and the problems of bad rows by row number."""
    users = dict(
        get_user_model().objects.filter(username__in={row.user for row in rows.values()}).values_list("username", "pk")
    )
    bad = {number: problem for number, row in rows.items() if (problem := _problem(row, users))}
    wanted = {
        (users[row.user], row.stream, address_digest(row.address)): row
        for number, row in rows.items()
        if number not in bad
    }
    known = set(
        StreamSuppression.objects.filter(digest__in={digest for _, _, digest in wanted}).values_list(
            "user_id", "stream", "digest"
        )
    )
    new = {key: row for key, row in wanted.items() if key not in known}
    Stream.objects.ensure((user, stream) for user, stream, _ in new)
    StreamSuppression.objects.bulk_create(
        [
            StreamSuppression(
                user_id=user,
                stream=stream,
                digest=digest,
                address=row.address,
                source=(row.source or source)[:50],
                created_at=row.since,
            )
            for (user, stream, digest), row in new.items()
        ],
        ignore_conflicts=True,
        batch_size=500,
    )
    return len(new), bad


def _problem(row: StreamRow, users: Mapping[str, int]) -> Problem | None:
    if row.user not in users:
        return "user", "There is no user of this name."
    if not STREAM_NAME.fullmatch(row.stream):
        return "stream", "A stream's name has 1 to 50 characters: a-z, 0-9, - and _, the first a letter or digit."
    return None
