"""What a view leaves in the request's ASGI scope when its response is to be held, or to go on as a stream.

Without an ASGI server, and for HEAD, nothing is left there, and the view's response is sent as it is.
"""

from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from rest.requests.prefer import wait_seconds
from rest.site import Origin, Site
from rest.watch.login import LOGIN_KEY, login_of
from rest.watch.position import OwnerPosition, Position, RowPosition
from rest.watch.table import LARGEST, State, Topic, new_version

SCOPE_KEY = "legwork.watch"
LAST_EVENT_ID = "Last-Event-ID"
CLOCK_DIFFERENCE = 5_000_000
"""Microseconds by which the clocks of this machine and of the database may differ."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The response after a wait. headers: those that differ from the view's response; None removes the field.

    status: None for that of the view's response.
    """

    body: bytes
    headers: Mapping[str, str | None] = field(default_factory=dict)
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold the response until `until` is true of a state, or so many seconds have passed.

    answer: makes the response from the newest state. known: the client's If-None-Match.
    """

    topic: Topic
    seconds: int
    until: Callable[[State], bool]
    answer: Callable[[State, Site], Answer]
    site: Site
    known: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """Call `again` in a thread whenever a wanted state has come, until it has an answer or so many seconds have passed.

    context: the view's, with its request id and its route to the databases.
    """

    topic: Topic
    position: Position
    seconds: int
    wanted: Callable[[State], bool]
    again: Callable[[], Answer | None]
    context: Context


@dataclass(frozen=True, slots=True)
class Stream:
    """Go on as a stream of events.

    event: their name. data: the JSON of a state. wanted: whether to tell it. final: whether nothing can follow it.
    """

    topic: Topic
    position: Position
    event: str
    data: Callable[[State, Site], bytes]
    wanted: Callable[[State], bool]
    final: Callable[[State], bool]
    site: Site


Plan = Hold | Repeat | Stream


class VariesByPreference(APIView):
    """A view whose responses are held if the client prefers to wait."""

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, ["Prefer"])
        return response


def hold(
    request: Request,
    response: HttpResponseBase,
    topic: Topic,
    until: Callable[[State], bool],
    answer: Callable[[State, Site], Answer],
) -> None:
    """Have this response held if the client prefers to wait."""
    if seconds := wait_seconds(request):
        known = request.headers.get("If-None-Match", "") if request.method == "GET" else ""
        if _leave(request, Hold(topic, seconds, until, answer, origin(request), known)):
            response["Preference-Applied"] = f"wait={seconds}"


def repeat(
    request: Request,
    response: HttpResponseBase,
    topic: Topic,
    wanted: Callable[[State], bool],
    again: Callable[[], Answer | None],
) -> None:
    """Have this response held, if the client prefers to wait, until `again` has another answer.

    For what the state of a row does not say, such as whether there is a job to lease. `again` is called in a thread of
    the pool whenever a wanted state comes, including those of the last seconds before this call.
    """
    if seconds := wait_seconds(request):
        position = OwnerPosition(new_version() - CLOCK_DIFFERENCE, resumes=True)
        if _leave(request, Repeat(topic, position, seconds, wanted, again, copy_context())):
            response["Preference-Applied"] = f"wait={seconds}"


def stream_response(request: Request, stream: Stream) -> StreamingHttpResponse:
    """The response that the stream follows: without Content-Length, for HEAD as well."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    _leave(request, stream)
    return StreamingHttpResponse((), content_type="text/event-stream", headers=headers)


def nothing_left() -> HttpResponse:
    """204: the client has the final state, and a browser does not reconnect."""
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


def origin(request: Request) -> Origin:
    return Origin(request.build_absolute_uri("/").removesuffix("/"))


def _leave(request: Request, plan: Plan) -> bool:
    scope: dict[str, Any] | None = request.META.get("asgi.scope")
    if scope is None or request.method == "HEAD":
        return False
    scope[SCOPE_KEY], scope[LOGIN_KEY] = plan, login_of(request)
    return True


def refuse_other_parameters(request: Request, *allowed: str) -> None:
    """Raises ValidationError if the query has other parameters than these."""
    if unknown := sorted(set(request.query_params) - set(allowed)):
        detail = f"Unknown parameter; allowed are: {', '.join(allowed)}."
        raise ValidationError({name: [ErrorDetail(detail, "unknown")] for name in unknown})


def last_event_id(request: Request) -> int | None:
    """The id of the last event that the client has, None if it has none. Raises ValidationError.

    Last-Event-ID comes before ?after=: a browser repeats the URL when it reconnects.
    """
    header = request.headers.get(LAST_EVENT_ID)
    name, value = (LAST_EVENT_ID, header) if header else ("after", request.query_params.get("after"))
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= LARGEST):
        detail = "This is not an event's id: a whole number, not negative."
        raise ValidationError({name: [ErrorDetail(detail, "invalid")]})
    return int(value)


def row_position(request: Request) -> RowPosition:
    return RowPosition(last_event_id(request) or 0)


def owner_position(request: Request, now: Callable[[], int]) -> OwnerPosition:
    """now: gives the present version; a client that comes for the first time is told of changes since then."""
    after = last_event_id(request)
    return OwnerPosition(now() if after is None else after, resumes=after is not None)
