"""After a restore: providers are asked about mail that may have been sent since the backup, before it is sent again.

manage.py after_restore → mark_unclear() → mail.sending.ambiguous, which asks the providers and calls record().
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from mail.events.provider_event import ProviderEvent
from mail.failure import Failure, FailureClass, Outcome
from mail.models import Attempt, Broadcast, Event, Message
from mail.models.queryset import MessageQuerySet
from mail.providers.accounts import Account, accounts

UNKNOWN = Failure(FailureClass.AMBIGUOUS, "it may have been sent after the backup that was restored")
BROADCAST_UNFINISHED = "Restored from a backup: some of the remaining rows may have been sent. Resume it, or cancel it."
BATCH = 1000
"""Messages in one transaction."""


def mark_unclear() -> int:
    """Give each message that may have been sent an unrecorded attempt per provider; returns how many messages.

    A message whose send_at lies ahead was not sent. What is marked already stays as it is.
    """
    count = 0
    while messages := list(_perhaps_sent()[:BATCH]):
        with transaction.atomic():
            _mark(messages)
        count += len(messages)
    return count


def stop_unfinished_broadcasts() -> int:
    """Stop the broadcasts whose messages were not all made: those made after the backup have ids unknown here."""
    unfinished = Broadcast.objects.filter(finished_at=None, cancelled_at=None, stopped_at=None)
    return unfinished.update(stopped_at=Now(), stop_reason=BROADCAST_UNFINISHED)


def record(unrecorded: Attempt, found: Iterable[ProviderEvent]) -> list[Attempt]:
    """Store the attempts that these events are about, in the place of the message's unrecorded ones."""
    began: dict[UUID, datetime] = {}
    for reported in found:
        if reported.attempt_id:
            at = reported.at or timezone.now()
            began[reported.attempt_id] = min(at, began.get(reported.attempt_id, at))
    calls = [
        _attempt(unrecorded.message, unrecorded.provider, unrecorded.service, unrecorded.domain, pk=pk, started_at=at)
        for pk, at in began.items()
    ]
    with transaction.atomic():
        Attempt.objects.bulk_create(calls, ignore_conflicts=True)
        Attempt.objects.filter(message=unrecorded.message_id, unrecorded=True).delete()
    return calls


def _perhaps_sent() -> MessageQuerySet:
    marked = Attempt.objects.filter(message=OuterRef("pk"), unrecorded=True)
    due = Q(send_at=None) | Q(send_at__lte=Now())
    rows: MessageQuerySet = Message.objects.pending().filter(~Exists(marked), due).order_by("pk")
    return rows.only("pk", "sender", "awaits_release")


def _mark(messages: Sequence[Message]) -> None:
    Attempt.objects.bulk_create(_unrecorded(message, account) for message in messages for account in accounts())
    Event.objects.bulk_create(
        Event(message=message, source=Event.Source.OURS, type="restored", detail=UNKNOWN.detail) for message in messages
    )
    # Those that wait for their release stay as they are: cancelling their broadcast cancels them.
    called = [message.pk for message in messages if not message.awaits_release]
    Message.objects.filter(pk__in=called).leave_unclear()


def _unrecorded(message: Message, account: Account) -> Attempt:
    domain = account.domain_for(message.sender)
    return _attempt(message, account.name, account.esp, domain, unrecorded=True, finished_at=timezone.now())


def _attempt(message: Message, provider: str, service: str, domain: str, **values: object) -> Attempt:
    unclear = {"outcome": Outcome.AMBIGUOUS, "failure_class": UNKNOWN.kind, "detail": UNKNOWN.detail}
    call = {"provider": provider, "service": service, "domain": domain[:255]}
    return Attempt(message=message, **call, **unclear, **values)
