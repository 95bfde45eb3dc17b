"""Messages that are watched: server-sent events, and responses that are held because the client prefers to wait."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from mail.api.serializers.messages import DETAIL_COLUMNS, message_detail, message_poll_headers
from mail.api.timeline import timelines
from mail.models import Message
from mail.status import TERMINAL
from rest.json import dumps
from rest.openapi.parts import AFTER, EVENT_STREAM, LAST_EVENT_ID, NOTHING_LEFT
from rest.pagination import characters_of
from rest.responses import etag, first_or_404
from rest.site import Site
from rest.watch.plans import (
    Answer,
    Stream,
    hold,
    nothing_left,
    origin,
    refuse_other_parameters,
    row_position,
    stream_response,
)
from rest.watch.table import State, Table, register


def _rows() -> "QuerySet[Any, dict[str, Any]]":
    rows: QuerySet[Any, dict[str, Any]] = Message.objects.values(*DETAIL_COLUMNS, "user_id", "version")
    return rows


def _add_timelines(rows: list[dict[str, Any]]) -> None:
    found = timelines({row["id"]: row["created_at"] for row in rows})
    for row in rows:
        row["timeline"] = found[row["id"]]


MESSAGES = register(Table(Message._meta.db_table, _rows, _add_timelines, characters_of("text", "html")))


def is_final(state: State) -> bool:
    return state.values["status"] in TERMINAL


def hold_until_next_status(request: Request, response: HttpResponseBase, message_id: UUID, status: str) -> None:
    """Have the response about a message with this status held if the client prefers to wait."""
    hold(
        request,
        response,
        MESSAGES.row(message_id),
        lambda state: is_final(state) or state.values["status"] != status,
        _answer,
    )


def _shown(state: State, site: Site) -> dict[str, Any]:
    return message_detail(state.values, site) | {"timeline": state.values["timeline"]}


def _answer(state: State, site: Site) -> Answer:
    shown = _shown(state, site)
    retry_after = message_poll_headers(state.values).get("Retry-After")
    return Answer(dumps(shown), {"ETag": etag(shown), "Retry-After": retry_after})


def _data(state: State, site: Site) -> bytes:
    return dumps(_shown(state, site))


class MessageEventsView(APIView):
    query_parameters = ("after",)

    @extend_schema(
        operation_id="messages_events", responses=EVENT_STREAM | NOTHING_LEFT, parameters=[LAST_EVENT_ID, AFTER]
    )
    def get(self, request: Request, message_id: UUID) -> HttpResponseBase:
        """Server-sent events of one message: its present state, then each change, until it has finished.

        An event's id only grows. After an interruption, send the last one as Last-Event-ID: nothing is told twice.
        """
        refuse_other_parameters(request, "after")
        position = row_position(request)
        messages = Message.objects.filter(user=request.user.pk, pk=message_id)
        status, version = first_or_404(messages.values_list("status", "version"))
        if status in TERMINAL and version == position.since:
            return nothing_left()
        topic = MESSAGES.row(message_id)
        stream = Stream(topic, position, "message", _data, lambda state: True, is_final, origin(request))
        return stream_response(request, stream)
