"""The HTTP side of broadcasts: what comes in is a list or a file, what goes out is a job."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db import transaction
from django.http import QueryDict
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from jobs.idempotency import idempotent
from jobs.parameters import IDEMPOTENCY_KEY, LOCATION, REPLAYED, RETRY_AFTER
from jobs.serializers import JobResponse
from jobs.submit import submit
from jobs.views import job_answer
from mail.broadcast_serializers import BroadcastRequest, BroadcastUpload
from mail.importance import Importance
from mail.models import Broadcast, Template
from mail.recipients import BadFile, Recipients, first_told, of_csv, of_json

KIND = "mail.broadcast"
PARSERS = cast("list[type[BaseParser]]", api_settings.DEFAULT_PARSER_CLASSES)


class BroadcastListView(APIView):
    problems: ClassVar = {"POST": (409, 422)}
    parser_classes = (*PARSERS, MultiPartParser)

    @extend_schema(
        operation_id="broadcasts_create",
        request={"application/json": BroadcastRequest, "multipart/form-data": BroadcastUpload},
        responses={202: JobResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED, LOCATION, RETRY_AFTER],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Send one template to many addresses: the job that makes the messages. Its result tells of bad rows."""
        given, recipients = _uploaded(request) if isinstance(request.data, QueryDict) else _listed(request)
        user = cast("User", request.user)
        template = _template(given["template"], user)
        with transaction.atomic():
            broadcast = Broadcast.objects.create(
                user=user,
                subject=template.subject,
                text=template.text,
                html=template.html,
                importance=given.get("importance") or Importance.BULK,
                recipients=recipients.rows,
                refused=first_told(recipients.refused),
                refusals=recipients.refusals,
            )
            job = submit(KIND, {"broadcast": str(broadcast.pk)}, user=user)
        return job_answer(request, job, status.HTTP_202_ACCEPTED)


def _listed(request: Request) -> tuple[dict[str, Any], Recipients]:
    body = BroadcastRequest(data=request.data)
    body.is_valid(raise_exception=True)
    return body.validated_data, of_json(body.validated_data["recipients"])


def _uploaded(request: Request) -> tuple[dict[str, Any], Recipients]:
    body = BroadcastUpload(data=request.data)
    body.is_valid(raise_exception=True)
    try:
        return body.validated_data, of_csv(body.validated_data["file"].read())
    except BadFile as error:
        raise ValidationError({"file": [ErrorDetail(str(error), "invalid")]}) from None


def _template(name: str, user: User) -> Template:
    template = Template.objects.filter(user=user, name=name).first()
    if template is None:
        raise ValidationError({"template": [ErrorDetail("You have no template of this name.", "unknown")]})
    return template
