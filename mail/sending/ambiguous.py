"""Resolves an attempt with an ambiguous outcome: the provider's events are read before the message is sent again."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from jobs.errors import RetryAfter
from mail import alerts
from mail.events import ingest, lookups
from mail.events.provider_event import ProviderEvent
from mail.failure import Failure, FailureClass, Outcome
from mail.models import Attempt, Event, Message
from mail.policy.apply_policy import apply_policy
from mail.policy.decision import Decision
from mail.providers import accounts
from mail.providers.mailgun_api import has_events_api
from mail.sending import restored

PROCESS_DIED = Failure(FailureClass.AMBIGUOUS, "the process that called the provider ended before the answer came")
NOT_FOUND = Failure(FailureClass.UNREACHABLE, "the provider does not know it")
NEVER_CLEARED_UP = "never_cleared_up"
"""The kind of alert for mail that is given up although a provider may have sent it."""


def resolve(message: Message, attempt: Attempt, tries: int) -> None:
    """Returns when the message was accepted, has ended, or may be sent again. Raises RetryAfter until then.

    tries: as in mail.policy.decision.Facts.
    """
    if not attempt.outcome:
        attempt.conclude(Outcome.AMBIGUOUS, PROCESS_DIED)
    account = accounts.find(attempt.provider)
    # Measured before the lookup: "not found" is true of that moment, however long the answer takes.
    ambiguous_for = timezone.now() - attempt.started_at
    found = lookups.events_of_attempt(attempt, account) if account and has_events_api(account) else None
    if found:
        _accept(message, attempt, found)
        return
    decision = _decide(message, attempt, not_found=found is not None, ambiguous_for=ambiguous_for, tries=tries)
    if decision.retry_after is None:
        return
    if decision.reconcile:
        raise RetryAfter(decision.retry_after.total_seconds(), "it is unclear whether the provider has it")
    if attempt.unrecorded and not decision.possible_duplicate:
        attempt.delete()  # there was no such call
    elif not decision.possible_duplicate:
        attempt.conclude(Outcome.TRANSIENT, NOT_FOUND)
    message.return_to_queue()
    if decision.retry_after:
        raise RetryAfter(decision.retry_after.total_seconds(), "to be sent again")


def _decide(message: Message, attempt: Attempt, *, not_found: bool, ambiguous_for: timedelta, tries: int) -> Decision:
    """By policy. Giving up always alerts if the provider may have sent the message."""
    with transaction.atomic():
        decision = apply_policy(
            message,
            Failure(FailureClass.AMBIGUOUS, attempt.detail),
            provider=attempt.provider,
            excluded={attempt.provider},
            blame_provider=False,  # its breaker has counted the failed call
            tries=tries,
            ambiguous_for=ambiguous_for,
            not_found=not_found,
        )
        given_up = decision.retry_after is None and decision.status
        if given_up and not not_found and not decision.alert:
            alerts.alert(NEVER_CLEARED_UP, attempt.detail, message=message, provider=attempt.provider)
    return decision


def _accept(message: Message, attempt: Attempt, found: list[ProviderEvent]) -> None:
    """The provider has the message: these events prove it."""
    message.note("found", "the provider was asked, and has it", attempt.provider)
    for call in restored.record(attempt, found) if attempt.unrecorded else [attempt]:
        ids = (each.provider_message_id for each in found if each.message_id and each.attempt_id == call.pk)
        message.accept(call, next(ids, ""))
    for reported in found:
        ingest.ingest(reported, Event.Source.LOOKUP)
