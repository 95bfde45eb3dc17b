"""Which jobs an operator wants to see or change: read from a page's query, kept in links and in params of bulk jobs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode
from uuid import UUID

import orjson
from django.db.models import Exists, JSONField, OuterRef, Q, Value
from django.db.models.fields.json import KeyTransform, KeyTransformExact
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from jobs.models import Job
from jobs.models.queryset import JobQuerySet, first_id_at
from jobs.models.queue.due import BY_PRIORITY
from jobs.models.states import Status
from jobs.registry import kinds
from monitor.models import FailedJob
from rest.json_value import clean_text, to_json

AGES = {
    "1h": ("the last hour", timedelta(hours=1)),
    "24h": ("the last day", timedelta(days=1)),
    "7d": ("the last 7 days", timedelta(days=7)),
}
INDEXED = {Status.SCHEDULED, Status.QUEUED, Status.RUNNING, Status.RETRYING, Status.FAILED}
"""Statuses that have a partial index."""


@dataclass(frozen=True)
class JobFilter:
    """Each empty value means any. created: a key of AGES, or FROM..TO. internal: with kinds that only we submit.

    error: an exception's class. group: the fingerprint of an error. q: an id, path:value in params, an error's text,
    or the beginning of a kind, a user's name, a unique key or a request's id.
    """

    status: str = ""
    kind: str = ""
    owner: str = ""
    queue: str = ""
    created: str = ""
    error: str = ""
    group: str = ""
    internal: bool = False
    q: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, Any]) -> Self:
        """Unknown names and values are ignored: a link from elsewhere still shows a list."""
        given = {each.name: clean_text(str(query.get(each.name) or "")).strip()[:200] for each in fields(cls)}
        if given["status"] not in Status.values:
            given["status"] = ""
        internal = given.pop("internal") in ("1", "True", "on")
        return cls(**given, internal=internal)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}

    def query(self, **changes: Any) -> str:
        """The query of a link to these jobs, with these changes."""
        values = replace(self, **changes).as_json()
        return urlencode(values | ({"internal": "1"} if values.get("internal") else {}))

    def describe(self) -> str:
        """For confirmations and the log of actions."""
        said = [f"{name} {value}" for name, value in self.as_json().items() if name != "internal"]
        if not self.shows_internal:
            said.append("without internal kinds")
        return ", ".join(said) or "all jobs"

    @property
    def shows_internal(self) -> bool:
        """True also if the filter names a kind, an error or a job, which may be internal."""
        return bool(self.internal or self.kind or self.group or self.error or self.job_id)

    @property
    def job_id(self) -> UUID | None:
        try:
            return UUID(self.q)
        except ValueError:
            return None

    @property
    def is_indexed(self) -> bool:
        """True if the newest of these jobs are found by an index; otherwise many jobs may have to be looked at."""
        plain = not (self.kind or self.queue or self.q)
        by_index = self.status in INDEXED or self.group or self.error or self.owner
        return self.job_id is not None or (plain and bool(by_index))

    def rows(self) -> JobQuerySet:
        """The jobs, newest first."""
        rows: JobQuerySet = Job.objects.filter(self.condition()).order_by("-id")
        return rows

    def condition(self) -> Q:
        if self.job_id:
            return Q(pk=self.job_id)
        named = {"status": self.status, "kind": self.kind, "queue": self.queue, "user__username": self.owner}
        condition = Q(**{name: value for name, value in named.items() if value})
        if self.status == Status.QUEUED:
            condition &= BY_PRIORITY  # always true, and names the index
        if not self.shows_internal:
            condition &= ~Q(kind__in=[kind.name for kind in kinds() if kind.internal])
        return condition & self._created() & self._failed_with() & self._searched()

    def _created(self) -> Q:
        """By id, which sorts by creation."""
        if self.created in AGES:
            return Q(pk__gte=first_id_at(timezone.now() - AGES[self.created][1]))
        first, _, last = self.created.partition("..")
        condition = Q()
        if since := moment(first):
            condition &= Q(pk__gte=first_id_at(since))
        if until := moment(last):
            condition &= Q(pk__lt=first_id_at(until))
        return condition

    def _failed_with(self) -> Q:
        if not (self.error or self.group):
            return Q()
        wanted = {"group": self.group} if self.group else {"group__type": self.error}
        failed = FailedJob.objects.filter(**wanted)
        return Q(status=Status.FAILED, pk__in=failed.values("job_id"))

    def _searched(self) -> Q:
        if not self.q:
            return Q()
        path, colon, value = self.q.partition(":")
        names = path.removeprefix("params.").split(".")
        if colon and value and " " not in path and all(names) and not any(map(_is_too_large_an_index, names)):
            return params_have(names, value)
        failed = FailedJob.objects.filter(job_id=OuterRef("pk"), message__icontains=self.q)
        named = Q(kind__startswith=self.q) | Q(user__username=self.q)
        return named | Q(unique_key=self.q) | Q(request_id=self.q) | Q(Exists(failed))


def params_have(path: Iterable[str], value: str) -> Q:
    """params.path is this value: the text, or the JSON that it reads as."""
    place: Any = "params"
    for name in path:
        place = KeyTransform(name, place)
    condition = Q(KeyTransformExact(place, Value(value, JSONField())))
    try:
        parsed = to_json(orjson.loads(value))
    except ValueError:
        return condition
    return condition | Q(KeyTransformExact(place, Value(parsed, JSONField())))


def _is_too_large_an_index(name: str) -> bool:
    """Django takes such a name for the index of a list; PostgreSQL's are 32 bits."""
    try:
        return abs(int(name)) >= 2**31
    except ValueError:
        return False


def moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text if "T" in text or " " in text else f"{text}T00:00")
    except ValueError:
        return None
    if moment is None or not 1970 < moment.year < 9000:
        return None
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
