"""POST bodies become drafts of messages: validated, rendered, errors named by field. views → here → mail.submit."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.exceptions import ErrorDetail, ValidationError

from mail.addresses.parsing import look_up_domains
from mail.api.serializers.messages import MessageRequest
from mail.importance import Importance
from mail.models import Attachment, Message, Template
from mail.rendering.budget import BadTemplate, RenderBudget
from mail.rendering.content import require_body, subject_line
from mail.rendering.sandbox import render_text
from mail.submit import Draft, build_draft, store
from mail.unsubscribe.one_click import context_for
from mail.usage import unsent_messages
from rest.requests.batch import parse_each
from rest.requests.field_errors import FieldError
from rest.requests.strict import validated

Templates = Mapping[str, Template]
"""The user's templates by name."""

BATCH_RENDER_SECONDS = 0.6
"""CPU time for all the templates of a batch, to compile and to render them."""
PARTS = ("subject", "text", "html")
COPIED_FIELDS = (
    *("headers", "tags", "metadata", "stream", "track_opens", "track_clicks", "test_mode"),
    *("send_at", "expires_at"),
)
"""Fields of the request that the message takes unchanged."""
DEFAULT_CONTENT_TYPE = {"content_type": "application/octet-stream"}


def look_up_recipient_domains(items: Iterable[object]) -> None:
    """Query DNS for the domains of all recipients in these raw items. Call it before a transaction begins."""
    look_up_domains([item["to"] for item in items if isinstance(item, dict) and isinstance(item.get("to"), str)])


def templates_named_by(items: Iterable[object], user: User) -> Templates:
    """The user's templates that these raw items name. At most one query."""
    named = {item["template"] for item in items if isinstance(item, dict) and isinstance(item.get("template"), str)}
    found = Template.objects.filter(user=user, name__in=named) if named else []
    return {template.name: template for template in found}


def parse_message(data: object, user: User, templates: Templates, budget: RenderBudget) -> Draft:
    """A draft of the message that a client describes; nothing is stored. Raises ValidationError."""
    given = validated(MessageRequest, data)
    message = Message(
        user=user,
        to=given["to"].written,
        address=given["to"].address,
        sender=given["from"].written if "from" in given else settings.MAIL_FROM,
        reply_to=[mailbox.written for mailbox in given.get("reply_to", [])],
        importance=given.get("importance", Importance.NORMAL),
        **{name: given[name] for name in COPIED_FIELDS if name in given},
    )
    context = context_for(message) | given.get("context", {})
    message.set_content(render_content(given | {"context": context}, templates, budget))
    attachments = [
        Attachment(**DEFAULT_CONTENT_TYPE | {name: value for name, value in file.items() if value is not None})
        for file in given.get("attachments", [])
    ]
    try:
        return build_draft(message, attachments, now=timezone.now())
    except OverflowError:
        raise ValidationError({"send_at": [ErrorDetail("This is too far in the future.", "overflow")]}) from None


def render_content(given: Mapping[str, Any], templates: Templates, budget: RenderBudget) -> dict[str, str]:
    """Subject, text and html as they are sent. Raises ValidationError that names the field at fault."""
    field = next(name for name in ("template", "text", "html") if name in given)
    parts = _render_parts(given, templates, budget)
    try:
        return require_body(parts)
    except BadTemplate as error:
        raise ValidationError({field: [ErrorDetail(str(error), "template")]}) from None


def _render_parts(given: Mapping[str, Any], templates: Templates, budget: RenderBudget) -> dict[str, str]:
    if "template" not in given:
        return {part: _render_part(part, given.get(part, ""), given, budget, part) for part in PARTS}
    template = templates.get(given["template"])
    if template is None:
        raise ValidationError({"template": [ErrorDetail("You have no template of this name.", "unknown")]})
    parts = {part: _render_part(part, getattr(template, part), given, budget, "template") for part in ("text", "html")}
    subject, field = (given["subject"], "subject") if "subject" in given else (template.subject, "template")
    return parts | {"subject": _render_part("subject", subject, given, budget, field)}


def _render_part(part: str, source: str, given: Mapping[str, Any], budget: RenderBudget, field: str) -> str:
    """field: the one that an error is reported for."""
    try:
        text = render_text(source, given.get("context", {}), budget, autoescape=part == "html")
        return subject_line(text) if part == "subject" else text
    except BadTemplate as error:
        prefix = "" if field == part else f"Its {part}: "
        raise ValidationError({field: [ErrorDetail(f"{prefix}{error}", "template")]}) from None


def store_batch(items: list[object], user: User) -> list[Message | list[FieldError]]:
    """Store what is valid. Each item becomes a stored message or its errors, in the same order.

    Raises QuotaExceeded, Full.
    """
    templates, budget = templates_named_by(items, user), RenderBudget(BATCH_RENDER_SECONDS)
    outcomes = parse_each(items, lambda item: parse_message(item, user, templates, budget))
    if drafts := [outcome for outcome in outcomes if isinstance(outcome, Draft)]:
        unsent_messages.take(user.pk, len(drafts))
        store(drafts)
    return [outcome.message if isinstance(outcome, Draft) else outcome for outcome in outcomes]
