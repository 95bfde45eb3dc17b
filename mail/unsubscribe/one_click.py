"""One-click unsubscription (RFC 8058): the header fields of a message, its signed link, and what a click does.

A link contains no address, and never expires: people click in mail that they got years ago.
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
TOKEN = re.compile(r"([0-9a-f]{32})([0-9a-f]{64})(?:-(\d{1,18})-([a-z0-9_-]{1,50}))?")
_signer = Signer(salt="mail.unsubscribe", sep=".")


class BadLink(ValueError):
    """The link was not signed by us, or was changed."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link identifies. digest: of the address; it outlives the message and the erasure of its recipient.

    user_id, stream: only for mail of a stream.
    """

    message_id: UUID
    digest: str
    user_id: int | None = None
    stream: str = ""

    @classmethod
    def read(cls, token: str) -> "Link":
        """From the token in the URL. Raises BadLink."""
        try:
            found = TOKEN.fullmatch(_signer.unsign(token))
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
        """None if it was pruned, or its recipient forgotten."""
        found = Message.objects.filter(pk=self.message_id).first()
        return found if found and found.address and address_digest(found.address) == self.digest else None


def headers_for(message: Message) -> dict[str, str]:
    """The List-Unsubscribe header fields of bulk mail (RFC 2369, RFC 8058). Other mail has none."""
    url = url_for(message)
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if url else {}


def context_for(message: Message) -> dict[str, str]:
    """The variables that we add to the context of a message's template: the unsubscribe link of bulk mail."""
    url = url_for(message)
    return {UNSUBSCRIBE_URL: url} if url else {}


def preview_context() -> dict[str, str]:
    """As context_for(), with a link that identifies nobody."""
    return {UNSUBSCRIBE_URL: _absolute_url("preview")}


def url_for(message: Message) -> str:
    """The unsubscribe page for this recipient. Empty for mail that is not bulk."""
    if message.importance != Importance.BULK or not message.address:
        return ""
    return _absolute_url(Link.of(message).token)


def unsubscribe(link: Link, *, all_bulk: bool = False) -> None:
    """Suppress the address for the link's stream, or for all bulk mail if it has none. Idempotent.

    all_bulk: for all bulk mail in any case. A stronger suppression stays in force beside this one.
    """
    message = link.message()
    stream_only = link.stream and link.user_id and not all_bulk and User.objects.filter(pk=link.user_id).exists()
    what = f"mail of the stream {link.stream}" if link.stream and not all_bulk else "bulk mail"
    detail = f"the recipient wants no more {what}"
    with transaction.atomic():
        if stream_only:
            _suppress_for_stream(link, message)
        else:
            _suppress_for_bulk(link, message)
        if message and not message.events.filter(type=SOURCE, detail=detail).exists():
            message.note(SOURCE, detail)
    log.info("unsubscribed", message_id=str(link.message_id), digest=link.digest[:12], stream=link.stream)


def _absolute_url(token: str) -> str:
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse('unsubscribe', args=[token])}"


def _suppress_for_stream(link: Link, message: Message | None) -> None:
    Stream.objects.ensure([(link.user_id or 0, link.stream)])
    address = message.address if message else ""
    StreamSuppression.objects.add(link.user_id or 0, link.stream, link.digest, address, SOURCE)


def _suppress_for_bulk(link: Link, message: Message | None) -> None:
    """By the digest; with the address if the message still has it."""
    fact = {"digest": link.digest, "scope": Scope.BULK, "reason": Reason.UNSUBSCRIBE}
    known = {"address": normalize_address(message.address)} if message else {}
    Suppression.objects.suppress_fact(fact, source=SOURCE, expires_at=None, **known)
