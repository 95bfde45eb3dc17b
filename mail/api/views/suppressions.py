"""Views of suppressions. Staff see and change all; other users see those of addresses that they have written to."""

from typing import Any, ClassVar, cast

import structlog
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
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
from mail.api.serializers.suppressions import (
    SuppressionRequest,
    SuppressionResponse,
    suppression_representation,
    suppression_url,
)
from mail.api.views.permissions import staff_or_permitted
from mail.models import Message, Suppression
from mail.models.queryset import SuppressionQuerySet
from mail.suppressions.lifting import lift
from rest.openapi.parts import ETAG, IDEMPOTENCY_KEY, IF_NONE_MATCH
from rest.requests.idempotency import idempotent
from rest.responses import conditional, etag, first_or_404

log = structlog.get_logger(__name__)


class SuppressionListView(GenericAPIView[Any]):
    problems: ClassVar = {"POST": (409, 422)}
    serializer_class = SuppressionResponse
    ordering = "-created_at"
    filter_backends = ()

    def get_queryset(self) -> SuppressionQuerySet:
        return _visible(self.request).exclude(address="")

    @extend_schema(operation_id="suppressions_list", responses=SuppressionResponse(many=True))
    def get(self, request: Request) -> Response:
        """Suppressed addresses, newest first. Staff see all, others those that they have written to."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([suppression_representation(each, each.address, request) for each in page])

    @extend_schema(
        operation_id="suppressions_create",
        request=SuppressionRequest,
        responses={200: SuppressionResponse, 201: SuppressionResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED_CREATED, CREATED],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Suppress an address. 200: it was suppressed before. All its suppressions are kept; the strongest is shown."""
        user = staff_or_permitted(request, "mail.add_suppression")
        body = SuppressionRequest(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        address = given["address"].address
        found = Suppression.objects.shown().filter(digest=address_digest(address))
        old = found.exists()
        made = Suppression.objects.suppress(
            address, given["reason"], given["scope"], given.get("expires_at"), source=user.get_username()[:50]
        )
        log.info("address_suppressed", address=mask_address(address), reason=made.reason, user_id=user.pk)
        shown = suppression_representation(found.first() or made, address, request)
        if old:
            return Response(shown)
        headers = {"Location": suppression_url(address, request)}
        return Response(shown, status=status.HTTP_201_CREATED, headers=headers)


class SuppressionView(APIView):
    @extend_schema(
        operation_id="suppressions_read",
        responses={200: SuppressionResponse, 304: None},
        parameters=[ADDRESS, IF_NONE_MATCH, ETAG],
    )
    def get(self, request: Request, address: str) -> HttpResponseBase:
        """The suppression of this address; if there are several, the strongest."""
        normalized = address_or_404(address)
        found = first_or_404(_visible(request, normalized).filter(digest=address_digest(normalized)))
        shown = suppression_representation(found, normalized, request)
        return conditional(request, Response(shown, headers={"ETag": etag(shown)}))

    @extend_schema(operation_id="suppressions_delete", responses={204: None}, parameters=[ADDRESS])
    def delete(self, request: Request, address: str) -> Response:
        """Lift the shown suppression of the address, here and on the providers' own lists.

        A complaint or an unsubscription is the recipient's wish, and is lifted only while it is the one shown. Behind a
        stronger one, such as a bounce, it stays, and is shown once that one is lifted.
        """
        user = staff_or_permitted(request, "mail.delete_suppression")
        normalized = address_or_404(address)
        lifted = lift(Suppression.objects.in_force().filter(digest=address_digest(normalized)))
        if not lifted:
            raise NotFound
        log.info("suppression_lifted", address=mask_address(normalized), count=lifted, user_id=user.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _visible(request: Request, address: str | None = None) -> SuppressionQuerySet:
    """Suppressions in force that this user may see. address: the only one that is asked for."""
    user, found = cast("User", request.user), Suppression.objects.shown()
    if user.is_staff or user.has_perm("mail.view_suppression"):
        return found
    own = Message.objects.filter(user=user.pk, address=OuterRef("address") if address is None else address)
    return found.filter(Exists(own))
