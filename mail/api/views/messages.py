"""Views of messages: validate, call one domain function, serialize."""

from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from mail.api.filters import MessageFilter
from mail.api.request_parsing import look_up_recipient_domains, parse_message, store_batch, templates_named_by
from mail.api.serializers.messages import (
    DETAIL_COLUMNS,
    SUMMARY_COLUMNS,
    MessageBatchRequest,
    MessageDetail,
    MessageRequest,
    MessageResponse,
    MessageSummary,
    message_detail,
    message_poll_headers,
    message_row,
    message_summary,
    message_url,
)
from mail.api.timeline import timeline
from mail.api.watching import hold_until_next_status
from mail.errors import AlreadySent, Erased, StillUnderWay, Suppressed
from mail.models import Message
from mail.models.queryset import MessageQuerySet
from mail.rendering.budget import RenderBudget
from mail.resending import resend
from mail.submit import cancel_message, store
from mail.usage import unsent_messages
from rest.openapi.parts import (
    ETAG,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LOCATION,
    PREFER,
    PREFERENCE_APPLIED,
    REPLAYED,
    RETRY_AFTER,
)
from rest.requests.batch import BatchResponse, batch_response
from rest.requests.idempotency import idempotent
from rest.requests.strict import require_no_body
from rest.responses import Conflict, conditional, etag, first_or_404
from rest.throttling import charge_items
from rest.watch.plans import VariesByPreference


class Unprocessable(APIException):
    """422: the request is valid but cannot be fulfilled."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "suppressed"


class MessageListView(GenericAPIView[Any]):
    problems: ClassVar = {"POST": (409, 422)}
    filterset_class = MessageFilter
    serializer_class = MessageSummary

    def get_queryset(self) -> QuerySet[Any, dict[str, Any]]:
        return _owned(self.request).values(*SUMMARY_COLUMNS)

    @extend_schema(operation_id="messages_list", responses=MessageSummary(many=True))
    def get(self, request: Request) -> Response:
        """Your messages, newest first, without their timelines."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response([message_summary(row, request) for row in page])

    @extend_schema(
        operation_id="messages_create",
        request=MessageRequest,
        responses={202: MessageResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED, LOCATION, RETRY_AFTER],
    )
    def post(self, request: Request) -> Response:
        """Accept a message. It is stored before the answer, and sent as soon as a worker is free, or at send_at."""
        look_up_recipient_domains([request.data])
        return self._stored(request)

    @idempotent
    def _stored(self, request: Request) -> Response:
        user = cast("User", request.user)
        draft = parse_message(request.data, user, templates_named_by([request.data], user), RenderBudget())
        unsent_messages.take(user.pk)
        store([draft])
        return _answer(request, draft.message, status.HTTP_202_ACCEPTED)


class MessageBatchView(APIView):
    problems: ClassVar = {"POST": (409, 422)}

    @extend_schema(
        operation_id="messages_batch",
        request=MessageBatchRequest,
        responses={202: BatchResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED],
    )
    def post(self, request: Request) -> Response:
        """Accept up to 500 messages. Each is accepted or refused by itself; the results are in the same order."""
        body = MessageBatchRequest(data=request.data)
        body.is_valid(raise_exception=True)
        charge_items(request, len(body.validated_data["messages"]))
        look_up_recipient_domains(body.validated_data["messages"])
        return self._stored(request, body.validated_data["messages"])

    @idempotent
    def _stored(self, request: Request, items: list[object]) -> Response:
        outcomes = store_batch(items, cast("User", request.user))
        return batch_response(outcomes, lambda message_id: message_url(message_id, request))


class MessageView(VariesByPreference):
    @extend_schema(
        operation_id="messages_read",
        responses={200: MessageDetail, 304: None},
        parameters=[IF_NONE_MATCH, ETAG, RETRY_AFTER, PREFER, PREFERENCE_APPLIED],
    )
    def get(self, request: Request, message_id: UUID) -> HttpResponseBase:
        """One message with its timeline. Until it has finished, prefer to wait for its next status, or ask again after
        Retry-After seconds.
        """
        row = first_or_404(_owned(request).filter(pk=message_id).values(*DETAIL_COLUMNS))
        shown = message_detail(row, request) | {"timeline": timeline(row["id"], row["created_at"])}
        response = conditional(request, Response(shown, headers={"ETag": etag(shown)} | message_poll_headers(row)))
        hold_until_next_status(request, response, message_id, row["status"])
        return response


class MessageCancellationView(APIView):
    problems: ClassVar = {"POST": (409,)}

    @extend_schema(operation_id="messages_cancel", request=None, responses={200: MessageResponse})
    def post(self, request: Request, message_id: UUID) -> Response:
        """Cancel a message, possible until a provider is called. Idempotent."""
        message = _owned_message(request, message_id)
        require_no_body(request)
        try:
            cancel_message(message)
        except AlreadySent as error:
            raise Conflict(f"The {error}.", "already_sent") from None
        return _answer(request, message, status.HTTP_200_OK)


class ResendListView(APIView):
    problems: ClassVar = {"POST": (409, 422)}

    @extend_schema(
        operation_id="messages_resend",
        request=None,
        responses={202: MessageResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED, LOCATION, RETRY_AFTER],
    )
    @idempotent
    def post(self, request: Request, message_id: UUID) -> Response:
        """Send a finished message again, as a new message linked to the old one."""
        old = _owned_message(request, message_id)
        require_no_body(request)
        unsent_messages.take(request.user.pk)
        try:
            message = resend(old)
        except StillUnderWay as error:
            raise Conflict(f"The {error}.", "unfinished") from None
        except Erased as error:
            raise Conflict(f"The {error}.", "erased") from None
        except Suppressed as error:
            raise Unprocessable(f"The {error}.") from None
        return _answer(request, message, status.HTTP_202_ACCEPTED)


def _owned(request: Request) -> MessageQuerySet:
    return Message.objects.filter(user=request.user.pk)


def _owned_message(request: Request, message_id: UUID) -> Message:
    message: Message = first_or_404(_owned(request).filter(pk=message_id))
    return message


def _answer(request: Request, message: Message, code: int) -> Response:
    """The message, with Location and Retry-After."""
    row = message_row(message)
    headers = {"Location": message_url(message.pk, request)} | message_poll_headers(row)
    shown = message_summary(row, request) | {"timeline": timeline(row["id"], row["created_at"])}
    return Response(shown, status=code, headers=headers)
