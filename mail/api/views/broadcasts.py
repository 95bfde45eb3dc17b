"""Views of broadcasts: the recipients come as a list or a file, the answer is the job that makes the messages."""

from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpResponseBase, QueryDict
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from jobs.api.serializers import JobResponse
from jobs.api.views import job_response
from jobs.usage import unfinished_jobs
from mail.addresses.csv_files import BadFile
from mail.addresses.refused_rows import first_refused
from mail.api.serializers.broadcasts import (
    BroadcastRequest,
    BroadcastResponse,
    BroadcastSummary,
    BroadcastUpload,
    broadcast_representation,
    broadcast_summary,
)
from mail.api.views.resumption import resume_if_permitted
from mail.broadcasts.cancellation import cancel_with_job
from mail.broadcasts.fan_out import COPIED_FIELDS, start
from mail.broadcasts.recipients import Recipients, read_csv, read_list
from mail.errors import NothingToCancel
from mail.importance import Importance
from mail.models import Broadcast, Template
from mail.usage import unsent_messages
from rest.openapi.parts import ETAG, IDEMPOTENCY_KEY, IF_NONE_MATCH, LOCATION, REPLAYED, RETRY_AFTER
from rest.requests.idempotency import idempotent
from rest.requests.strict import require_no_body
from rest.responses import Conflict, conditional, etag, first_or_404
from rest.throttling import charge_broadcast

PARSERS = cast("list[type[BaseParser]]", api_settings.DEFAULT_PARSER_CLASSES)


class BroadcastListView(GenericAPIView[Any]):
    problems: ClassVar = {"POST": (409, 422)}
    parser_classes = (*PARSERS, MultiPartParser)
    serializer_class = BroadcastSummary
    filter_backends = ()

    def get_queryset(self) -> QuerySet[Broadcast]:
        return _owned_broadcasts(self.request)

    @extend_schema(operation_id="broadcasts_list", responses=BroadcastSummary(many=True))
    def get(self, request: Request) -> Response:
        """Your broadcasts, newest first, without their figures."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([broadcast_summary(broadcast, request) for broadcast in page])

    @extend_schema(
        operation_id="broadcasts_create",
        request={"application/json": BroadcastRequest, "multipart/form-data": BroadcastUpload},
        responses={202: JobResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED, LOCATION, RETRY_AFTER],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Send one template to many addresses, by a job that makes the messages. Its result lists the bad rows."""
        given, recipients = _from_form(request) if isinstance(request.data, QueryDict) else _from_json(request)
        user = cast("User", request.user)
        charge_broadcast(request, len(recipients.rows))
        unfinished_jobs.take(user.pk)
        unsent_messages.take(user.pk, len(recipients.rows) - recipients.refusals)
        template = _owned_template(given["template"], user)
        broadcast = Broadcast(
            user=user,
            subject=template.subject,
            text=template.text,
            html=template.html,
            importance=_permitted_importance(given.get("importance", Importance.BULK), user),
            sender=given["from"].written if "from" in given else "",
            reply_to=[mailbox.written for mailbox in given.get("reply_to", [])],
            recipients=recipients.rows,
            refused=first_refused(recipients.refused),
            refusals=recipients.refusals,
            **{name: given[name] for name in COPIED_FIELDS if name in given and name != "reply_to"},
        )
        broadcast.messages_url = request.build_absolute_uri(f"{reverse('messages')}?broadcast={broadcast.pk}")
        return job_response(request, start(broadcast), status.HTTP_202_ACCEPTED)


class BroadcastView(APIView):
    @extend_schema(
        operation_id="broadcasts_read", responses={200: BroadcastResponse, 304: None}, parameters=[IF_NONE_MATCH, ETAG]
    )
    def get(self, request: Request, broadcast_id: UUID) -> HttpResponseBase:
        """One broadcast, with its messages counted by status."""
        shown = broadcast_representation(_owned(request, broadcast_id), request)
        return conditional(request, Response(shown, headers={"ETag": etag(shown)}))


class BroadcastCancellationView(APIView):
    problems: ClassVar = {"POST": (409,)}

    @extend_schema(operation_id="broadcasts_cancel", request=None, responses={200: BroadcastResponse})
    def post(self, request: Request, broadcast_id: UUID) -> Response:
        """Cancel the messages not sent yet. Idempotent; 409 once all have been sent."""
        broadcast = _owned(request, broadcast_id)
        require_no_body(request)
        try:
            cancel_with_job(broadcast)
        except NothingToCancel as error:
            raise Conflict(f"The {error}.") from None
        broadcast.refresh_from_db(fields=["cancelled_at"])
        return Response(broadcast_representation(broadcast, request))


class BroadcastResumptionView(APIView):
    problems: ClassVar = {"POST": (409,)}

    @extend_schema(operation_id="broadcasts_resume", request=None, responses={200: BroadcastResponse})
    def post(self, request: Request, broadcast_id: UUID) -> Response:
        """Resume a broadcast that the guard has stopped. Requires the permission mail.resume_stopped."""
        broadcast = _owned(request, broadcast_id)
        require_no_body(request)
        resume_if_permitted(request, broadcast)
        return Response(broadcast_representation(_owned(request, broadcast_id), request))


def _owned(request: Request, broadcast_id: UUID) -> Broadcast:
    return first_or_404(_owned_broadcasts(request).filter(pk=broadcast_id))


def _owned_broadcasts(request: Request) -> QuerySet[Broadcast]:
    owned: QuerySet[Broadcast] = Broadcast.objects.filter(user=request.user.pk)
    return owned.defer("recipients", "refused", "text", "html")


def _from_json(request: Request) -> tuple[dict[str, Any], Recipients]:
    body = BroadcastRequest(data=request.data)
    body.is_valid(raise_exception=True)
    return body.validated_data, read_list(body.validated_data["recipients"])


def _from_form(request: Request) -> tuple[dict[str, Any], Recipients]:
    body = BroadcastUpload(data=request.data)
    body.is_valid(raise_exception=True)
    try:
        return body.validated_data, read_csv(body.validated_data["file"].read())
    except BadFile as error:
        raise ValidationError({"file": [ErrorDetail(str(error), "invalid")]}) from None


def _owned_template(name: str, user: User) -> Template:
    template = Template.objects.filter(user=user, name=name).first()
    if template is None:
        raise ValidationError({"template": [ErrorDetail("You have no template of this name.", "unknown")]})
    return template


def _permitted_importance(importance: str, user: User) -> str:
    """Raises PermissionDenied, ValidationError."""
    if importance != Importance.BULK and not user.has_perm("mail.broadcast_normal"):
        raise PermissionDenied("A broadcast that is not bulk needs the permission mail.broadcast_normal.")
    if importance == Importance.CRITICAL:
        raise ValidationError(
            {"importance": [ErrorDetail("A broadcast can be bulk or normal, not critical.", "invalid_choice")]}
        )
    return importance
