"""The queries that every e-mail costs, compiled once."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Exists, F, OuterRef, QuerySet

from jobs.models.statements import CompiledQuery, EqualsAny, ListParameter, Parameter
from mail.addresses.normalize import address_digest
from mail.importance import Importance
from mail.models import Attachment, Attempt, Message, Suppression
from mail.models.queryset import SuppressionQuerySet
from mail.reasons import Scope


def message_to_send(message_id: UUID) -> Message | None:
    """With was_tried and has_files, which spare most messages the queries for attempts and attachments."""
    return _MESSAGE.instance(Message, message_id=message_id)


def messages_to_send(message_ids: Sequence[UUID]) -> list[Message]:
    """As message_to_send() for many, in any order. PostgreSQL only."""
    return _MESSAGES.instances(Message, ids=message_ids)


def digests_on_the_list(digests: Sequence[str]) -> set[str]:
    """Those of addresses with a suppression, in force or not, for whatever mail. PostgreSQL only."""
    return {digest for (digest,) in _DIGESTS.rows(digests=digests)}


def suppression_reason(message: Message) -> str:
    """The reason of the strongest suppression of its address that forbids it; empty if there is none.

    A broadcast counts as bulk mail, whatever importance it claims.
    """
    is_bulk = message.importance == Importance.BULK or message.broadcast_id
    query = _REASON_FOR_BULK if is_bulk else _REASON
    row = query.first(digest=address_digest(message.address))
    return str(row[0]) if row else ""


def _to_send() -> QuerySet[Message]:
    files, attempts = (model.objects.filter(message=OuterRef("pk")) for model in (Attachment, Attempt))
    return Message.objects.annotate(was_tried=Exists(attempts), has_files=Exists(files)).order_by()


def _in_force() -> SuppressionQuerySet:
    digest = Parameter("digest", Suppression._meta.get_field("digest"))
    rows: SuppressionQuerySet = Suppression.objects.in_force().filter(digest=digest).strongest_first()
    return rows


_MESSAGE = CompiledQuery(lambda: _to_send().filter(pk=Parameter("message_id", Message._meta.get_field("id"))))
_MESSAGES = CompiledQuery(
    lambda: _to_send().filter(EqualsAny(F("pk"), ListParameter("ids", Message._meta.get_field("id"))))
)
_DIGESTS = CompiledQuery(
    lambda: Suppression.objects.filter(
        EqualsAny(F("digest"), ListParameter("digests", Suppression._meta.get_field("digest")))
    ).values_list("digest")
)
_REASON = CompiledQuery(lambda: _in_force().filter(scope=Scope.ALL).values_list("reason"))
_REASON_FOR_BULK = CompiledQuery(lambda: _in_force().values_list("reason"))
