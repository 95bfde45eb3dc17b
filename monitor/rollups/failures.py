"""Puts each failed job into the group of its error."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F, Func, JSONField

from monitor.fingerprint import fingerprint, place_of
from monitor.models import ErrorGroup, ErrorHour, FailedJob

BATCH = 500
UNKNOWN = {"type": "unknown", "message": "", "traceback": ""}


class LastError(Func):
    """The last of a job's errors: a job may have a hundred, each with its traceback."""

    def __init__(self) -> None:
        super().__init__(F("errors"), output_field=JSONField())

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s -> -1)", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="json_extract(%(expressions)s, '$[#-1]')", **context)


def group(failed: Any) -> None:
    """failed: jobs that are in no group yet, or failed again."""
    rows = failed.order_by().annotate(last=LastError()).values_list("pk", "kind", "finished_at", "last")
    for batch in _batches(rows.iterator(BATCH)):
        _group_batch(batch)


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _group_batch(rows: list[tuple[UUID, str, Any, Any]]) -> None:
    found: dict[str, dict[str, Any]] = {}
    members = []
    for pk, kind, at, error in rows:
        error = error or UNKNOWN
        place, message = place_of(error["traceback"]), str(error["message"])[:500]
        mark = fingerprint(kind, error["type"], place)
        members.append(FailedJob(job_id=pk, group_id=mark, message=message, at=at))
        same = found.setdefault(mark, {"kind": kind, "type": error["type"][:200], "place": place, "times": []})
        same |= {"message": message, "example": pk}
        same["times"].append(at)
    for mark, same in found.items():
        _add(mark, same.pop("times"), same)
    FailedJob.objects.bulk_create(
        members, update_conflicts=True, unique_fields=["job_id"], update_fields=["group", "message", "at"]
    )


def _add(mark: str, times: list[Any], fields: dict[str, Any]) -> None:
    first, last = min(times), max(times)
    new = fields | {"first_seen_at": first, "release": settings.RELEASE}
    ErrorGroup.objects.get_or_create(fingerprint=mark, defaults=new)
    latest = {"message": fields["message"], "example": fields["example"], "last_seen_at": last}
    ErrorGroup.objects.filter(pk=mark).update(count=F("count") + len(times), **latest)
    hour = last.replace(minute=0, second=0, microsecond=0)
    ErrorHour.objects.get_or_create(group_id=mark, hour=hour)
    ErrorHour.objects.filter(group_id=mark, hour=hour).update(count=F("count") + len(times))
