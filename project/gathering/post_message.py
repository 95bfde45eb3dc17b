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
from project.gathering.posting import Posted, Posting, Shown
from project.gathering.requests import Asked
from rest.json import dumps

PATH = re.compile("/api/v1/mail/messages/")
CONTENT = ("subject", "text", "html")


async def answer(asked: Asked, path: re.Match[str], body: bytes) -> Answer | None:
    posted = Posted.of(asked, path[0], body)
    return posted and await posts.answer(posted)


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


def show(draft: Draft, messages_url: str) -> Shown:
    url, row = f"{messages_url}{draft.message.pk}/", message_row(draft.message)
    body = represent_message(row, url) | {"timeline": timeline_of_new(draft.message.created_at)}
    return Shown({"Location": url} | message_poll_headers(row), dumps(body))


posts: Gatherer[Posted, Answer] = Gatherer(
    "gathered posts of messages", Posting(unsent_messages, parse, insert, show).store
)
