"""What is read and written for many messages at once, before the calls of their providers and after them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.utils import timezone

from mail.addresses.normalize import address_digest
from mail.importance import Importance
from mail.models import Attempt, Message, sql
from mail.providers import breakers, select
from mail.providers.accounts import Account, accounts
from mail.sending import holds, pacing, statements
from mail.status import Status


@dataclass(frozen=True, slots=True)
class Call:
    """A call that may be made now: its attempt is committed."""

    message: Message
    account: Account
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Accepted:
    """A call's success, which is not stored yet. If it never is, the attempt is ambiguous, and its provider asked."""

    attempt: Attempt
    provider_message_id: str


def begin(message_ids: Sequence[UUID]) -> dict[UUID, Call]:
    """Begin the first attempt of each message that needs nothing but a call, in one transaction.

    All others are left out, for send() to look at one by one: those tried before, to an address on our list, with files
    or a stream, by a provider that has a rate or a pause.
    """
    if connection.vendor != "postgresql":
        return {}
    messages = [message for message in statements.messages_to_send(message_ids) if _is_plain(message)]
    listed = _listed([message.address for message in messages])
    calls = [
        Call(message, account, message.new_attempt(account.name, account.esp, account.domain_for(message.sender)))
        for message in messages
        if message.address not in listed and (account := _account_for(message))
    ]
    ids = sql.begin_attempts([call.attempt for call in calls])
    begun = [call for call in calls if call.attempt.pk in ids]
    for call in begun:
        call.message.status = Status.SENDING
    return {call.message.pk: call for call in begun}


def conclude(ended: Sequence[Accepted | str]) -> list[dict[str, str]]:
    """Store the successes among these; the result of each job, which tells its message's status."""
    accepted = [each for each in ended if isinstance(each, Accepted)]
    stored = Message.objects.accept([(each.attempt, each.provider_message_id) for each in accepted])
    for provider in {each.attempt.provider for each in accepted}:
        senders = [each.attempt.message.sender for each in accepted if each.attempt.provider == provider]
        holds.record_success(provider, senders)
    return [
        {"status": stored.get(each.attempt.message_id, "") if isinstance(each, Accepted) else each} for each in ended
    ]


def _is_plain(message: Message) -> bool:
    """True if its row says that it may be sent, and that nothing else has to be read for it."""
    tried_or_files = getattr(message, "was_tried", True) or getattr(message, "has_files", True)
    waits = not message.pending or message.awaits_release or message.expires_at <= timezone.now()
    return not (tried_or_files or waits or message.stream)


def _listed(addresses: Sequence[str]) -> set[str]:
    """Those with a suppression, in force or not, for whatever mail."""
    by_digest = {address_digest(address): address for address in addresses}
    return {by_digest[digest] for digest in statements.digests_on_the_list(list(by_digest))}


def _account_for(message: Message) -> Account | None:
    """The preferred account if it takes this message now, without a limit to count it against."""
    account = accounts()[0]
    if message.importance == Importance.CRITICAL and len(accounts()) > 1:
        return None  # send() asks which of them lists the recipient
    if message.importance == Importance.BULK and breakers.slow_until(message.address.rpartition("@")[2]):
        return None
    return account if select.takes_mail(account, message.sender) and not pacing.is_limited(message, account) else None
