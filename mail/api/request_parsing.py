"""From what a client sent to messages: validated and rendered here, one by one; what is wrong is said in its terms."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.exceptions import ErrorDetail, ValidationError

from mail.addresses import parsing
from mail.api.fields import LONGEST_LINE
from mail.api.serializers.messages import MessageRequest
from mail.importance import Importance
from mail.models import Attachment, Message, Template
from mail.rendering import BadTemplate, Meter, rendered
from mail.submit import Draft, drafted, store
from mail.unsubscribe.one_click import context_for
from rest.field_errors import FieldError, flatten

Templates = Mapping[str, Template]

BATCH_SECONDS = 2.0
"""Of computing, for all the templates of a batch."""
PARTS = ("subject", "text", "html")
COPIED = (
    *("headers", "tags", "metadata", "stream", "track_opens", "track_clicks", "test_mode"),
    *("send_at", "expires_at"),
)
"""What a message keeps as it was given."""
USUAL_FILE = {"content_type": "application/octet-stream"}


def look_up_domains(items: Iterable[object]) -> None:
    """Ask DNS about all recipients of what a client sent, before a transaction begins."""
    parsing.look_up([item["to"] for item in items if isinstance(item, dict) and isinstance(item.get("to"), str)])


def templates_named_by(items: Iterable[object], user: User) -> Templates:
    """The user's own templates that are named in what a client sent: one query, or none."""
    named = {item["template"] for item in items if isinstance(item, dict) and isinstance(item.get("template"), str)}
    found = Template.objects.filter(user=user, name__in=named) if named else []
    return {template.name: template for template in found}


def prepared(data: object, user: User, templates: Templates, meter: Meter) -> Draft:
    """A message as the client describes it, not stored yet; raises ValidationError."""
    body = MessageRequest(data=data)
    body.is_valid(raise_exception=True)
    given = body.validated_data
    message = Message(
        user=user,
        to=given["to"].written,
        address=given["to"].address,
        sender=given["from"].written if "from" in given else settings.MAIL_FROM,
        reply_to=[mailbox.written for mailbox in given.get("reply_to", [])],
        importance=given.get("importance", Importance.NORMAL),
        **{name: given[name] for name in COPIED if name in given},
    )
    context = context_for(message) | given.get("context", {})
    message.set_content(content(given | {"context": context}, templates, meter))
    attachments = [
        Attachment(**USUAL_FILE | {name: value for name, value in file.items() if value is not None})
        for file in given.get("attachments", [])
    ]
    try:
        return drafted(message, attachments, now=timezone.now())
    except OverflowError:
        raise ValidationError({"send_at": [ErrorDetail("This is too far ahead.", "overflow")]}) from None


def content(given: Mapping[str, Any], templates: Templates, meter: Meter) -> dict[str, str]:
    """Subject, text and html as they are sent; raises ValidationError that names the field."""
    field = next(name for name in ("template", "text", "html") if name in given)
    parts = _parts(given, templates, meter)
    try:
        return with_a_body(parts)
    except BadTemplate as error:
        raise ValidationError({field: [ErrorDetail(str(error), "template")]}) from None


def _parts(given: Mapping[str, Any], templates: Templates, meter: Meter) -> dict[str, str]:
    if "template" not in given:
        return {part: _part(part, given.get(part, ""), given, meter, part) for part in PARTS}
    template = templates.get(given["template"])
    if template is None:
        raise ValidationError({"template": [ErrorDetail("You have no template of this name.", "unknown")]})
    sources = {part: getattr(template, part) for part in PARTS}
    content = {part: _part(part, sources[part], given, meter, "template") for part in ("text", "html")}
    if "subject" in given:
        return content | {"subject": _part("subject", given["subject"], given, meter, "subject")}
    return content | {"subject": _part("subject", sources["subject"], given, meter, "template")}


def _part(part: str, source: str, given: Mapping[str, Any], meter: Meter, field: str) -> str:
    try:
        text = rendered(source, given.get("context", {}), meter, autoescape=part == "html")
        return one_line(text) if part == "subject" else text
    except BadTemplate as error:
        prefix = "" if field == part else f"Its {part}: "
        raise ValidationError({field: [ErrorDetail(f"{prefix}{error}", "template")]}) from None


def with_a_body(parts: dict[str, str]) -> dict[str, str]:
    """Rendered parts of which one at least is a body: providers refuse mail without. Raises BadTemplate."""
    if not (parts["text"].strip() or parts["html"].strip()):
        raise BadTemplate("The result has neither text nor HTML.")
    return parts


def one_line(subject: str) -> str:
    """A rendered subject as it can stand in a header field. Raises BadTemplate."""
    subject = subject.strip()
    if parsing.has_control_characters(subject):
        raise BadTemplate("The result has line breaks or other control characters.")
    if not 0 < len(subject) <= LONGEST_LINE:
        raise BadTemplate(f"The result has {len(subject)} characters; 1 to {LONGEST_LINE} are allowed.")
    return subject


def accepted(items: list[object], user: User) -> list[Message | list[FieldError]]:
    """Each item as a stored message, or what is wrong with it; one bad one does not sink the rest."""
    templates, meter = templates_named_by(items, user), Meter(BATCH_SECONDS)
    outcomes = [_prepared_or_errors(item, user, templates, meter) for item in items]
    if drafts := [outcome for outcome in outcomes if isinstance(outcome, Draft)]:
        store(drafts)
    return [outcome.message if isinstance(outcome, Draft) else outcome for outcome in outcomes]


def _prepared_or_errors(item: object, user: User, templates: Templates, meter: Meter) -> Draft | list[FieldError]:
    try:
        return prepared(item, user, templates, meter)
    except ValidationError as error:
        return list(flatten(error.detail))
