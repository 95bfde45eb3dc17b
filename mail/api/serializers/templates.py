"""Serializers of templates, for requests and answers."""

import re
from typing import Any

from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request

from mail.api.fields import LineField, SourceField
from mail.models import Template
from mail.rendering.budget import BadTemplate, RenderBudget
from mail.rendering.sandbox import SandboxedTemplate
from rest.openapi.parts import ORIGIN, example
from rest.requests.fields import ObjectField, PatternField
from rest.requests.strict import StrictSerializer

PARTS = ("subject", "text", "html")
MAX_NAME_LENGTH = 100
NAME = re.compile(r"[-a-zA-Z0-9_]+")
TEMPLATE = {"subject": "News for {{ name }}", "text": "Dear {{ name }}, …"}
"""An example."""


@example(**TEMPLATE)
class TemplateContent(StrictSerializer):
    """The body of PUT mail/templates/{name}/: subject, and text, html or both. All are Django templates."""

    subject = LineField(min_length=1)
    text = SourceField(required=False, allow_null=True, allow_blank=True)
    html = SourceField(required=False, allow_null=True, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = attrs | {part: attrs.get(part) or "" for part in PARTS}
        if not given["text"] and not given["html"]:
            raise serializers.ValidationError(
                {"text": [serializers.ErrorDetail("One of text and html is required.", "required")]}
            )
        budget = RenderBudget()
        if errors := {part: error for part in PARTS if (error := _template_errors(given[part], budget))}:
            raise serializers.ValidationError(errors)
        return given


@example(name="news", **TEMPLATE)
class TemplateRequest(TemplateContent):
    """The body of POST mail/templates/."""

    name = PatternField(
        NAME, max_length=MAX_NAME_LENGTH, invalid="A name has letters, digits, hyphens and underscores."
    )


@example(context={"name": "Ada"})
class PreviewRequest(StrictSerializer):
    """The body of POST mail/templates/{name}/preview/."""

    context = ObjectField(required=False, allow_null=True)  # type: ignore[assignment]


@example(name="news", url=f"{ORIGIN}/api/v1/mail/templates/news/", **TEMPLATE)
class TemplateResponse(serializers.Serializer[Any]):
    """A stored template."""

    name = serializers.CharField()
    url = serializers.URLField()
    subject = serializers.CharField()
    text = serializers.CharField(allow_null=True)
    html = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


@example(subject="News for Ada", text="Dear Ada, …")
class PreviewResponse(serializers.Serializer[Any]):
    """A rendered template."""

    subject = serializers.CharField()
    text = serializers.CharField(allow_null=True, allow_blank=True)
    html = serializers.CharField(allow_null=True, allow_blank=True)


def template_representation(template: Template, request: Request) -> dict[str, Any]:
    """TemplateResponse as a dict."""
    return {
        "name": template.name,
        "url": template_url(template.name, request),
        "subject": template.subject,
        "text": template.text or None,
        "html": template.html or None,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
    }


def template_url(name: str, request: Request) -> str:
    return request.build_absolute_uri(reverse("template", args=[name]))


def _template_errors(source: str, budget: RenderBudget) -> list[serializers.ErrorDetail]:
    try:
        SandboxedTemplate(source, budget)
    except BadTemplate as error:
        return [serializers.ErrorDetail(str(error), "template")]
    return []
