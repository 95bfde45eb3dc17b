"""Views of streams (a user's own kinds of mail, such as "news") and of the addresses that do not want them."""

from typing import Any, ClassVar, cast

import structlog
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from mail.addresses.normalize import address_digest, mask_address
from mail.api.openapi import CREATED, REPLAYED_CREATED
from mail.api.path_address import ADDRESS, address_or_404
from mail.api.serializers.streams import (
    StreamResponse,
    StreamSummary,
    StreamSuppressionRequest,
    StreamSuppressionResponse,
    stream_representation,
    stream_summary,
    stream_suppression_representation,
    stream_suppression_url,
)
from mail.api.views.resumption import resume_if_permitted
from mail.models import Stream, StreamSuppression
from mail.models.stream import STREAM_NAME
from rest.openapi.parts import ETAG, IDEMPOTENCY_KEY, IF_NONE_MATCH
from rest.requests.idempotency import idempotent
from rest.requests.strict import require_no_body
from rest.responses import conditional, etag, first_or_404

log = structlog.get_logger(__name__)


class StreamListView(GenericAPIView[Any]):
    serializer_class = StreamSummary
    filter_backends = ()

    def get_queryset(self) -> QuerySet[Stream]:
        return _owned(self.request)

    @extend_schema(operation_id="streams_list", responses=StreamSummary(many=True))
    def get(self, request: Request) -> Response:
        """Your streams, newest first. The first message or suppression of a stream creates it."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([stream_summary(stream, request) for stream in page])


class StreamView(APIView):
    @extend_schema(
        operation_id="streams_read", responses={200: StreamResponse, 304: None}, parameters=[IF_NONE_MATCH, ETAG]
    )
    def get(self, request: Request, name: str) -> HttpResponseBase:
        """One stream, with its messages of the last days counted by status."""
        shown = stream_representation(_owned_stream(request, name), request)
        return conditional(request, Response(shown, headers={"ETag": etag(shown)}))


class StreamResumptionView(APIView):
    problems: ClassVar = {"POST": (409,)}

    @extend_schema(operation_id="streams_resume", request=None, responses={200: StreamResponse})
    def post(self, request: Request, name: str) -> Response:
        """Resume a stream that the guard has stopped. Requires the permission mail.resume_stopped."""
        stream = _owned_stream(request, name)
        require_no_body(request)
        resume_if_permitted(request, stream)
        return Response(stream_representation(_owned_stream(request, name), request))


class StreamSuppressionListView(GenericAPIView[Any]):
    problems: ClassVar = {"POST": (409, 422)}
    serializer_class = StreamSuppressionResponse
    filter_backends = ()

    def get_queryset(self) -> QuerySet[StreamSuppression]:
        stream = _owned_stream(self.request, self.kwargs["name"])
        return _suppressions(self.request, stream.name).exclude(address="")

    @extend_schema(operation_id="stream_suppressions_list", responses=StreamSuppressionResponse(many=True))
    def get(self, request: Request, name: str) -> Response:
        """Addresses that get only critical mail of this stream, newest first."""
        page = self.paginate_queryset(self.get_queryset()) or []
        shown = [stream_suppression_representation(each, each.address, request) for each in page]
        return self.get_paginated_response(shown)

    @extend_schema(
        operation_id="stream_suppressions_create",
        request=StreamSuppressionRequest,
        responses={200: StreamSuppressionResponse, 201: StreamSuppressionResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED_CREATED, CREATED],
    )
    @idempotent
    def post(self, request: Request, name: str) -> Response:
        """Suppress an address for this stream, which is created if needed. 200: it was suppressed already."""
        if not STREAM_NAME.fullmatch(name):
            raise NotFound
        body = StreamSuppressionRequest(data=request.data)
        body.is_valid(raise_exception=True)
        user, address = cast("User", request.user), body.validated_data["address"].address
        Stream.objects.ensure([(user.pk, name)])
        digest = address_digest(address)
        new = StreamSuppression.objects.add(user.pk, name, digest, address, user.get_username()[:50])
        log.info("stream_suppressed", stream=name, address=mask_address(address), user_id=user.pk)
        found = _suppressions(request, name).get(digest=digest)
        shown = stream_suppression_representation(found, address, request)
        if not new:
            return Response(shown)
        headers = {"Location": stream_suppression_url(name, address, request)}
        return Response(shown, status=status.HTTP_201_CREATED, headers=headers)


class StreamSuppressionView(APIView):
    @extend_schema(
        operation_id="stream_suppressions_read",
        responses={200: StreamSuppressionResponse, 304: None},
        parameters=[ADDRESS, IF_NONE_MATCH, ETAG],
    )
    def get(self, request: Request, name: str, address: str) -> HttpResponseBase:
        """Since when the address is suppressed for this stream, and by whom."""
        normalized = address_or_404(address)
        found = first_or_404(_suppressions(request, name).filter(digest=address_digest(normalized)))
        shown = stream_suppression_representation(found, normalized, request)
        return conditional(request, Response(shown, headers={"ETag": etag(shown)}))

    @extend_schema(operation_id="stream_suppressions_delete", responses={204: None}, parameters=[ADDRESS])
    def delete(self, request: Request, name: str, address: str) -> Response:
        """Lift the suppression of the address for this stream."""
        digest = address_digest(address_or_404(address))
        if not _suppressions(request, name).filter(digest=digest).delete()[0]:
            raise NotFound
        log.info("stream_suppression_lifted", stream=name, address=mask_address(address), user_id=request.user.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _owned(request: Request) -> QuerySet[Stream]:
    return Stream.objects.filter(user=request.user.pk)


def _owned_stream(request: Request, name: str) -> Stream:
    return first_or_404(_owned(request).filter(name=name))


def _suppressions(request: Request, name: str) -> QuerySet[StreamSuppression]:
    return StreamSuppression.objects.of(request.user.pk, name)
