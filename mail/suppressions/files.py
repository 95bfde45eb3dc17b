"""Imports and exports suppressions as CSV, in our own format and in those of Mailgun's three lists.

Our own format also has the suppressions of streams, each with its user and stream.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from mail.addresses.csv_files import SEPARATORS, BadFile, decode_csv, split_rows
from mail.addresses.normalize import address_digest
from mail.addresses.parsing import BadAddress, parse_mailbox
from mail.addresses.refused_rows import RefusedRow, first_refused, refused_row
from mail.models import StreamSuppression, Suppression
from mail.reasons import Reason, Scope
from mail.suppressions.provider_lists import EVERYTHING, MEANING, Entry, import_entries, parse_item
from mail.suppressions.stream_rows import StreamRow, import_rows
from rest.requests.field_errors import FieldError

OWN_COLUMNS = ("address", "reason", "scope", "expires_at", "source", "created_at", "user", "stream")
COLUMNS = {
    "bounces": ("address", "code", "error", "created_at"),
    "complaints": ("address", "created_at"),
    "unsubscribes": ("address", "tags", "created_at"),
}
"""Of Mailgun's files (Mailgun, "Suppressions": import and export)."""
LIST_BY_COLUMN = {"code": "bounces", "error": "bounces", "tags": "unsubscribes"}
"""Columns that only one of the lists has."""
BATCH = 1000
"""Rows of one import_entries()."""
KEPT_REFUSALS = 1000
"""Bad rows that are described, before first_refused() chooses among them; further ones are only counted."""


class BadRow(ValueError):
    """args: the field, and what is wrong with it as a sentence."""


@dataclass(slots=True)
class Imported:
    """imported: new suppressions. known: existing ones. refused: the first bad rows. refusals: number of bad rows."""

    imported: int = 0
    known: int = 0
    refused: list[RefusedRow] = field(default_factory=list)
    refusals: int = 0


def import_file(content: bytes, *, name: str | None, source: str, most: int | None = None) -> Imported:
    """Suppress all addresses of a file. name: Mailgun's list, if the columns do not tell which. Raises BadFile."""
    columns, lines = _table(content)
    name = None if "reason" in columns else name or _list_of(columns)
    done, entries = Imported(), []
    of_streams: dict[int, StreamRow] = {}
    for number, line in enumerate(lines, 1):
        if most is not None and number > most:
            raise BadFile(f"The file has more than {most} rows.")
        try:
            row = dict(zip(columns, line, strict=True))
            if name is None and row.get("stream", "").strip():
                of_streams[number] = _stream_row(row)
            else:
                entries.append(_entry(row, name))
        except BadRow as error:
            _refuse(done, number, *error.args)
        except ValueError:
            _refuse(done, number, "", f"This row has {len(line)} fields, and the first line {len(columns)}.")
    for place in range(0, len(entries), BATCH):
        some = entries[place : place + BATCH]
        new = import_entries(some, source=source)
        done.imported += new
        done.known += len(some) - new
    new, bad = import_rows(of_streams, source=source)
    done.imported += new
    done.known += len(of_streams) - new - len(bad)
    for number, problem in bad.items():
        _refuse(done, number, *problem)
    done.refused = first_refused(done.refused)
    return done


def export_file(found: QuerySet[Suppression], name: str | None = None) -> Iterator[str]:
    """The lines of a CSV file, in our own format, or in that of one of Mailgun's lists."""
    yield _line(OWN_COLUMNS if name is None else COLUMNS[name])
    if name is not None:
        reason, _ = MEANING[name]
        found = found.filter(reason=reason, expires_at=None)
    for each in found.exclude(address="").order_by("address", "pk").iterator():
        yield _line(_own(each) if name is None else _mailgun(each, name))
    if name is None:
        of_streams = StreamSuppression.objects.exclude(address="").select_related("user")
        for row in of_streams.order_by("address", "pk").iterator():
            yield _line(_of_stream(row))


def _table(content: bytes) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns, and the non-empty lines."""
    text = decode_csv(content)
    for separator in SEPARATORS:
        lines = split_rows(text, separator)
        columns = [column.strip().lower() for column in next(lines, [])]
        if "address" in columns:
            if len(set(columns)) < len(columns):
                raise BadFile("The first line names a column twice.")
            return columns, lines
    raise BadFile("The first line must name the columns, and one of them must be `address`.")


def _list_of(columns: list[str]) -> str:
    """Mailgun's list with these columns. Raises BadFile if they do not tell."""
    for column in columns:
        if column in LIST_BY_COLUMN:
            return LIST_BY_COLUMN[column]
    raise BadFile(f"The columns do not tell which list this is: `list` must be one of {', '.join(COLUMNS)}.")


def _refuse(done: Imported, number: int, name: str, detail: str) -> None:
    done.refusals += 1
    if len(done.refused) < KEPT_REFUSALS:
        done.refused.append(refused_row(number, [FieldError(field=name, code="invalid", detail=detail)]))


def _entry(row: Mapping[str, str], name: str | None) -> Entry:
    address = _address(row)
    return _own_entry(address, row) if name is None else _mailgun_entry(row, name)


def _address(row: Mapping[str, str]) -> str:
    try:
        return parse_mailbox(row["address"]).address
    except BadAddress as error:
        raise BadRow("address", str(error)) from None


def _stream_row(row: Mapping[str, str]) -> StreamRow:
    return StreamRow(
        user=row.get("user", "").strip(),
        stream=row["stream"].strip(),
        address=_address(row),
        since=_time(row, "created_at") or timezone.now(),
        source=row.get("source", "").strip(),
    )


def _mailgun_entry(row: Mapping[str, str], name: str) -> Entry:
    tags = row.get("tags", "").replace(",", " ").split() or [EVERYTHING]
    entry = parse_item(name, {**row, "tags": tags})
    if entry is None:
        raise BadRow("tags", "Only an unsubscription from everything (*) can be imported.")
    return entry


def _own_entry(address: str, row: Mapping[str, str]) -> Entry:
    reason, scope = row["reason"].strip(), row.get("scope", "").strip()
    if reason not in Reason.values:
        raise BadRow("reason", f"This must be one of {', '.join(Reason.values)}.")
    usual = Scope.BULK if reason == Reason.UNSUBSCRIBE else Scope.ALL
    if scope and scope not in Scope.values:
        raise BadRow("scope", f"This must be one of {', '.join(Scope.values)}.")
    since = _time(row, "created_at") or timezone.now()
    expires_at = _time(row, "expires_at")
    if expires_at and expires_at <= timezone.now():
        raise BadRow("expires_at", "This lies in the past.")
    entry = Entry(address, address_digest(address), since, Reason(reason), Scope(scope or usual), expires_at)
    return replace(entry, source=row.get("source", "").strip())


def _time(row: Mapping[str, str], name: str) -> datetime | None:
    """A time with its offset, as UTC; None if the field is empty."""
    text = row.get(name, "").strip()
    if not text:
        return None
    try:
        found = parse_datetime(text)
        if found and found.tzinfo:
            return found.astimezone(UTC)
    except (OverflowError, ValueError):  # 9999-12-31T23:59:59-14:00 lies in the year 10000
        pass
    raise BadRow(name, "This must be a time with its offset, such as 2026-01-31T12:00:00Z.")


def _own(each: Suppression) -> tuple[str, ...]:
    expires_at = each.expires_at.isoformat() if each.expires_at else ""
    return each.address, each.reason, each.scope, expires_at, each.source, each.created_at.isoformat(), "", ""


def _of_stream(each: StreamSuppression) -> tuple[str, ...]:
    since = each.created_at.isoformat()
    return each.address, Reason.UNSUBSCRIBE, "", "", each.source, since, each.user.get_username(), each.stream


def _mailgun(each: Suppression, name: str) -> tuple[str, ...]:
    since = format_datetime(each.created_at.astimezone(UTC), usegmt=True)
    between = {"bounces": ("550", ""), "unsubscribes": (EVERYTHING,)}.get(name, ())
    return each.address, *between, since


def _line(values: tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue()
