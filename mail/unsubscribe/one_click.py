"""One click ends bulk mail (RFC 8058): the header fields of a message, what the link says, and what the click does.

A link holds no address. It is good without end: people click on what they got years ago.
"""

import re
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.urls import reverse

from mail.addresses.normalize import address_digest, normalize_address
from mail.importance import Importance
from mail.models import Message, Stream, StreamSuppression, Suppression
from mail.reasons import Reason, Scope
from mail.rendering.budget import UNSUBSCRIBE_URL

log = structlog.get_logger(__name__)

SOURCE = "one-click"
WHO = re.compile(r"([0-9a-f]{32})([0-9a-f]{64})(?:-(\d{1,18})-([a-z0-9_-]{1,50}))?")
_signer = Signer(salt="mail.unsubscribe", sep=".")


class BadLink(ValueError):
    """The link is not one of ours, or was changed."""


@dataclass(frozen=True, slots=True)
class Link:
    """Whom a link is for. digest: of the address, which outlives the message and its person's wish to be forgotten.

    user_id, stream: of mail that belongs to a stream.
    """

    message_id: UUID
    digest: str
    user_id: int | None = None
    stream: str = ""

    @classmethod
    def read(cls, token: str) -> "Link":
        """Raises BadLink."""
        try:
            found = WHO.fullmatch(_signer.unsign(token))
        except (BadSignature, UnicodeError):
            found = None
        if not found:
            raise BadLink
        return cls(UUID(found[1]), found[2], int(found[3]) if found[3] else None, found[4] or "")

    @classmethod
    def of(cls, message: Message) -> "Link":
        stream = message.stream if message.user_id else ""
        return cls(message.pk, address_digest(message.address), message.user_id if stream else None, stream)

    @property
    def token(self) -> str:
        stream = f"-{self.user_id}-{self.stream}" if self.stream else ""
        return _signer.sign(f"{self.message_id.hex}{self.digest}{stream}")

    def message(self) -> Message | None:
        """None when it was pruned, or its person forgotten."""
        found = Message.objects.filter(pk=self.message_id).first()
        return found if found and found.address and address_digest(found.address) == self.digest else None


def headers_for(message: Message) -> dict[str, str]:
    """The header fields of List-Unsubscribe that bulk mail has (RFC 2369, RFC 8058), and other mail has not."""
    url = url_for(message)
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if url else {}


def context_for(message: Message) -> dict[str, str]:
    """What the templates of a message know besides what its sender says: the link of bulk mail."""
    url = url_for(message)
    return {UNSUBSCRIBE_URL: url} if url else {}


def preview_context() -> dict[str, str]:
    """As context_for(), with a link that belongs to nobody."""
    return {UNSUBSCRIBE_URL: _absolute("preview")}


def url_for(message: Message) -> str:
    """The page on which the recipient ends bulk mail; empty for other mail."""
    if message.importance != Importance.BULK or not message.address:
        return ""
    return _absolute(Link.of(message).token)


def unsubscribe(link: Link, *, all_bulk: bool = False) -> None:
    """No more mail of the link's stream to this address, or no more bulk mail where it has none. Again: the same.

    all_bulk: no more bulk mail of any stream. What forbids more stays in force, and does not outlast it.
    """
    message = link.message()
    only_the_stream = link.stream and link.user_id and not all_bulk and User.objects.filter(pk=link.user_id).exists()
    with transaction.atomic():
        if only_the_stream:
            _suppress_stream(link, message)
        else:
            _suppress(link, message)
        if message and not message.events.filter(type=SOURCE, detail=_said(link, all_bulk)).exists():
            message.note(SOURCE, _said(link, all_bulk))
    log.info("unsubscribed", message_id=str(link.message_id), digest=link.digest[:12], stream=link.stream)


def _said(link: Link, all_bulk: bool) -> str:
    what = f"mail of the stream {link.stream}" if link.stream and not all_bulk else "bulk mail"
    return f"the recipient wants no more {what}"


def _absolute(token: str) -> str:
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse('unsubscribe', args=[token])}"


def _suppress_stream(link: Link, message: Message | None) -> None:
    Stream.objects.ensure([(link.user_id or 0, link.stream)])
    address = message.address if message else ""
    StreamSuppression.objects.add(link.user_id or 0, link.stream, link.digest, address, SOURCE)


def _suppress(link: Link, message: Message | None) -> None:
    """With the address where we have it, and else by its digest alone."""
    fact = {"digest": link.digest, "scope": Scope.BULK, "reason": Reason.UNSUBSCRIBE}
    known = {"address": normalize_address(message.address)} if message else {}
    Suppression.objects.suppress_fact(fact, source=SOURCE, expires_at=None, **known)
