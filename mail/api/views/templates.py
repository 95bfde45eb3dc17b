"""Views of templates, and the preview of one."""

from typing import Any, ClassVar, cast

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from mail.api.openapi import CREATED, REPLAYED_CREATED
from mail.api.request_parsing import render_content
from mail.api.serializers.templates import (
    MAX_NAME_LENGTH,
    PreviewRequest,
    PreviewResponse,
    TemplateContent,
    TemplateRequest,
    TemplateResponse,
    template_representation,
    template_url,
)
from mail.models import Template
from mail.rendering.budget import RenderBudget
from mail.unsubscribe.one_click import preview_context
from rest.openapi.parts import ETAG, IDEMPOTENCY_KEY, IF_NONE_MATCH
from rest.pagination import characters_of
from rest.requests.idempotency import idempotent
from rest.responses import Conflict, conditional, etag, first_or_404
from rest.usage import QuotaExceeded

log = structlog.get_logger(__name__)

CREATION_PARAMETERS = [IDEMPOTENCY_KEY, REPLAYED_CREATED, CREATED]


class TemplateListView(GenericAPIView[Any]):
    problems: ClassVar = {"POST": (409, 422)}
    serializer_class = TemplateResponse
    filter_backends = ()
    row_characters = characters_of("text", "html")

    def get_queryset(self) -> QuerySet[Template]:
        return _owned(self.request)

    @extend_schema(operation_id="templates_list", responses=TemplateResponse(many=True))
    def get(self, request: Request) -> Response:
        """Your templates, newest first."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([template_representation(template, request) for template in page])

    @extend_schema(
        operation_id="templates_create",
        request=TemplateRequest,
        responses={201: TemplateResponse},
        parameters=CREATION_PARAMETERS,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Store a new template."""
        body = TemplateRequest(data=request.data)
        body.is_valid(raise_exception=True)
        return _created(request, **body.validated_data)


class TemplateView(APIView):
    problems: ClassVar = {"POST": (409, 422)}

    @extend_schema(
        operation_id="templates_read", responses={200: TemplateResponse, 304: None}, parameters=[IF_NONE_MATCH, ETAG]
    )
    def get(self, request: Request, name: str) -> HttpResponseBase:
        """One template."""
        shown = template_representation(_owned_template(request, name), request)
        return conditional(request, Response(shown, headers={"ETag": etag(shown)}))

    @extend_schema(
        operation_id="templates_create_named",
        request=TemplateContent,
        responses={201: TemplateResponse},
        parameters=CREATION_PARAMETERS,
    )
    @idempotent
    def post(self, request: Request, name: str) -> Response:
        """Store a new template of this name."""
        _require_valid_name(name)
        body = TemplateContent(data=request.data)
        body.is_valid(raise_exception=True)
        return _created(request, name, **body.validated_data)

    @extend_schema(
        operation_id="templates_replace",
        request=TemplateContent,
        responses={200: TemplateResponse, 201: TemplateResponse},
        parameters=[CREATED],
    )
    def put(self, request: Request, name: str) -> Response:
        """Store a template of this name, replacing an existing one."""
        _require_valid_name(name)
        body = TemplateContent(data=request.data)
        body.is_valid(raise_exception=True)
        if not _owned(request).filter(name=name).exists():
            _require_room(request)
        template, new = Template.objects.update_or_create(
            user=cast("User", request.user), name=name, defaults=body.validated_data
        )
        log.info("template_saved", user_id=request.user.pk, name=name, created=new)
        return _answer(request, template, status.HTTP_201_CREATED if new else status.HTTP_200_OK)

    @extend_schema(operation_id="templates_delete", responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Delete a template. Messages and broadcasts made from it keep their content."""
        if not _owned(request).filter(name=name).delete()[0]:
            raise NotFound
        log.info("template_deleted", user_id=request.user.pk, name=name)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PreviewView(APIView):
    @extend_schema(operation_id="templates_preview", request=PreviewRequest, responses=PreviewResponse)
    def post(self, request: Request, name: str) -> Response:
        """Render this template with this context, as a message would be. Nothing is stored."""
        body = PreviewRequest(data=request.data)
        body.is_valid(raise_exception=True)
        template = _owned_template(request, name)
        given = {"template": name, "context": preview_context() | (body.validated_data.get("context") or {})}
        rendered = render_content(given, {name: template}, RenderBudget())
        shown = {"text": None, "html": None} | {part: text for part, text in rendered.items() if text}
        return Response(shown)


def _owned(request: Request) -> QuerySet[Template]:
    return Template.objects.filter(user=request.user.pk)


def _owned_template(request: Request, name: str) -> Template:
    return first_or_404(_owned(request).filter(name=name))


def _require_valid_name(name: str) -> None:
    if len(name) > MAX_NAME_LENGTH:
        raise NotFound


def _require_room(request: Request) -> None:
    if _owned(request).count() >= settings.MAX_TEMPLATES:
        raise QuotaExceeded("templates", settings.MAX_TEMPLATES)


def _created(request: Request, name: str, **content: str) -> Response:
    _require_room(request)
    try:
        with transaction.atomic():
            template = Template.objects.create(user=cast("User", request.user), name=name, **content)
    except IntegrityError:
        raise Conflict(
            "You have a template of this name.", "name_taken", Location=template_url(name, request)
        ) from None
    log.info("template_saved", user_id=request.user.pk, name=name, created=True)
    return _answer(request, template, status.HTTP_201_CREATED)


def _answer(request: Request, template: Template, code: int) -> Response:
    headers = {"Location": template_url(template.name, request)} if code == status.HTTP_201_CREATED else {}
    return Response(template_representation(template, request), status=code, headers=headers)
