"""Jobs that are watched: server-sent events, and responses that are held because the client prefers to wait."""

from functools import cache
from typing import Any, cast
from uuid import UUID

import orjson
from django.contrib.auth.models import User
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from jobs.api.serializers import (
    JOB_FIELDS,
    JSON_CHARACTERS,
    LARGE_FIELDS,
    job_etag,
    job_poll_headers,
    represent_job,
)
from jobs.models import Job
from jobs.models.digest import RowDigest
from jobs.models.queue.clock import database_now
from jobs.models.states import TERMINAL, Status
from rest.json import dumps
from rest.openapi.parts import AFTER, EVENT_STREAM, LAST_EVENT_ID, NOTHING_LEFT
from rest.responses import first_or_404
from rest.site import Site
from rest.watch.plans import (
    Answer,
    Stream,
    hold,
    nothing_left,
    origin,
    owner_position,
    refuse_other_parameters,
    row_position,
    stream_response,
)
from rest.watch.table import State, Table, register

SMALL_FIELDS = [name for name in JOB_FIELDS if name not in LARGE_FIELDS]


def _rows() -> "QuerySet[Any, dict[str, Any]]":
    texts = {f"{name}_text": Cast(name, TextField()) for name in LARGE_FIELDS}
    rows: QuerySet[Any, dict[str, Any]] = Job.objects.values(
        *SMALL_FIELDS, "user_id", "version", digest=RowDigest(*JOB_FIELDS), **texts
    )
    return rows


JOBS = register(Table(Job._meta.db_table, _rows, row_characters=JSON_CHARACTERS))


def is_final(state: State) -> bool:
    return state.values["status"] in TERMINAL


def hold_until_finished(request: Request, response: HttpResponseBase, job_id: UUID) -> None:
    """Have the response about this job held if the client prefers to wait."""
    hold(request, response, JOBS.row(job_id), is_final, _answer if "ETag" in response else _answer_without_etag)


def _answer(state: State, site: Site) -> Answer:
    shown = _shown(state, site)
    return Answer(dumps(shown), {"ETag": job_etag(state.values["digest"], shown), "Retry-After": _retry_after(state)})


def _answer_without_etag(state: State, site: Site) -> Answer:
    return Answer(_data(state, site), {"Retry-After": _retry_after(state)})


def _retry_after(state: State) -> str | None:
    return job_poll_headers(state.values).get("Retry-After")


def _data(state: State, site: Site) -> bytes:
    return dumps(_shown(state, site))


def _shown(state: State, site: Site) -> dict[str, Any]:
    values = state.values
    row = {name: _decoded(values[f"{name}_text"]) if name in LARGE_FIELDS else values[name] for name in JOB_FIELDS}
    return represent_job(row, site.build_absolute_uri(f"{_path()}{state.id}/"))


def _decoded(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


@cache
def _path() -> str:
    """The path of the list of jobs. Cached: reverse() took longer than the rest of an event's representation."""
    return reverse("jobs")


class JobEventsView(APIView):
    query_parameters = ("after",)

    @extend_schema(operation_id="jobs_events", responses=EVENT_STREAM | NOTHING_LEFT, parameters=[LAST_EVENT_ID, AFTER])
    def get(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """Server-sent events of one job: its present state, then each change, until it has finished.

        Ids of events only grow. After an interruption, send the last id as Last-Event-ID: no event is sent twice.
        """
        refuse_other_parameters(request, "after")
        position = row_position(request)
        status, version = first_or_404(
            Job.objects.filter(user=request.user.pk, pk=job_id).values_list("status", "version")
        )
        if status in TERMINAL and version == position.since:
            return nothing_left()
        stream = Stream(JOBS.row(job_id), position, "job", _data, lambda state: True, is_final, origin(request))
        return stream_response(request, stream)


class AllJobsEventsView(APIView):
    query_parameters = ("after", "kind", "status")

    @extend_schema(
        operation_id="jobs_events_of_all",
        responses=EVENT_STREAM,
        parameters=[
            OpenApiParameter("kind", OpenApiTypes.STR),
            OpenApiParameter("status", OpenApiTypes.STR, enum=Status.values, many=True),
            LAST_EVENT_ID,
            AFTER,
        ],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Server-sent events of all your jobs, from now on: each change of each.

        The filters apply to the state after the change.
        """
        refuse_other_parameters(request, "after", "kind", "status")
        kind, statuses = request.query_params.get("kind"), _statuses(request)
        stream = Stream(
            JOBS.of_owner(cast("User", request.user).pk),
            owner_position(request, _now),
            "job",
            _data,
            lambda state: _matches(state, kind, statuses),
            lambda state: False,
            origin(request),
        )
        return stream_response(request, stream)


def _statuses(request: Request) -> frozenset[str]:
    """Empty for all. Raises ValidationError."""
    statuses = request.query_params.getlist("status")
    for status in statuses:
        if status not in Status.values:
            detail = f"There is no status {status[:20]}; choose from: {', '.join(Status.values)}."
            raise ValidationError({"status": [ErrorDetail(detail, "invalid_choice")]})
    return frozenset(statuses)


def _matches(state: State, kind: str | None, statuses: frozenset[str]) -> bool:
    return (kind is None or state.values["kind"] == kind) and (not statuses or state.values["status"] in statuses)


def _now() -> int:
    return int(database_now().timestamp() * 1_000_000)
