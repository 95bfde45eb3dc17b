"""POST mail/messages/ with a token, gathered. The plain view: mail/api/views/messages.py."""

import re

from django.conf import settings
from django.contrib.auth.models import User

from mail.addresses.domains import is_known
from mail.api.request_parsing import parse_message
from mail.api.serializers.messages import message_poll_headers, message_row, represent_message
from mail.api.timeline import timeline_of_new
from mail.rendering.budget import RenderBudget
from mail.submit import Draft, store
from mail.usage import unsent_messages
from project.gathering.answers import Answer
from project.gathering.gatherer import Gatherer
from project.gathering.heads import base_url
from project.gathering.posting import MAX_BODY, Posted, Posting, Stored
from project.gathering.requests import Asked
from rest.json import dumps

MESSAGES = "/api/v1/mail/messages/"
PATH = re.compile(MESSAGES)
CONTENT = ("subject", "text", "html")


async def answer(asked: Asked, path: re.Match[str], body: bytes) -> Answer | None:
    if len(body) > MAX_BODY:
        return None
    stored = await posts.answer(Posted(asked.digest, body, asked.request_id))
    if stored is None:
        return None
    if stored.error:
        return stored.refusal(stored.error, path[0])
    message = stored.thing.message
    url = f"{base_url(asked.origin)}{path[0]}{message.pk}/"
    row = message_row(message)
    fields = {"Location": url} | message_poll_headers(row)
    shown = represent_message(row, url) | {"timeline": timeline_of_new(message.created_at)}
    return Answer(202, fields, dumps(shown), stored.user_id, stored.allowance)


def parse(data: object, user: User) -> Draft | None:
    """None if it needs a template, a stream, or an answer from DNS, for which the other messages would wait."""
    if not isinstance(data, dict) or "template" in data or data.get("stream") is not None:
        return None
    if any("{" in str(data.get(name)) for name in CONTENT):
        return None
    draft = None
    if not settings.MAIL_CHECK_DNS or is_known(str(data.get("to")).rpartition("@")[2].strip(" >").lower()):
        draft = parse_message(data, user, {}, RenderBudget())
    return draft


def insert(drafts: list[Draft]) -> None:
    store(drafts)


posts: Gatherer[Posted, Stored] = Gatherer(
    "gathered posts of messages", Posting(MESSAGES, unsent_messages, parse, insert).store
)
