"""What became of an attempt whose outcome nobody knows: the provider is asked before anything is sent again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from jobs.errors import RetryAfter
from mail.events import ingest, lookups
from mail.events.provider_event import Report
from mail.failure import Failure, FailureClass, Outcome
from mail.importance import Importance
from mail.models import Attempt, Event, Message
from mail.policy.apply_policy import carry_out, facts_of
from mail.policy.table import Breaker, Decision, decide
from mail.providers import accounts
from mail.providers.accounts import Account

DIED = Failure(FailureClass.AMBIGUOUS, "the process that called the provider ended before the answer came")
NEVER_CLEARED_UP = "never_cleared_up"
"""The kind of alert for mail that is given up although a provider may have sent it, as it cannot be asked."""
UNKNOWN = Failure(FailureClass.UNREACHABLE, "the provider does not know it")


def clear_up(message: Message, attempt: Attempt, tries: int) -> None:
    """Afterwards the message has left our hands, or may be sent. Raises RetryAfter while neither is certain."""
    if not attempt.outcome:
        attempt.conclude(Outcome.AMBIGUOUS, DIED)
    found = accounts.account(attempt.provider)
    # What the provider did not know when it was asked says nothing of the seconds that the answer took.
    unclear_for = timezone.now() - attempt.started_at
    told = lookups.reports_of(attempt, found) if found and lookups.can_ask(found) else None
    if told:
        _found(message, attempt, told)
        return
    decision = _decide(message, attempt, tries, found, unclear_for, asked=told is not None)
    if decision.reconcile and decision.retry_after:
        raise RetryAfter(decision.retry_after.total_seconds(), "it is unclear whether the provider has it")
    if decision.retry_after is None:
        return
    if not decision.possible_duplicate:
        attempt.conclude(Outcome.TRANSIENT, UNKNOWN)
    message.wait()
    if decision.retry_after:
        raise RetryAfter(decision.retry_after.total_seconds(), "to be sent again")


def patience(found: Account | None) -> dict[str, Any]:
    """The facts that decide how long an attempt may stay unclear."""
    return {"settled_after": settings.MAIL_SETTLED_AFTER, "can_ask": lookups.can_ask(found)}


def take(told: list[Report]) -> int:
    """Let the receiver have what a provider was asked for; how many of them were news."""
    return sum(ingest.take(report, Event.Source.LOOKUP) is not None for report in told)


def _found(message: Message, attempt: Attempt, told: list[Report]) -> None:
    message.note("found", "the provider was asked, and has it", attempt.provider)
    message.accept(attempt, next((report.provider_message_id for report in told if report.message_id), ""))
    take(told)


def _decide(
    message: Message, attempt: Attempt, tries: int, found: Account | None, unclear_for: timedelta, *, asked: bool
) -> Decision:
    facts = facts_of(
        message,
        FailureClass.AMBIGUOUS,
        tried={attempt.provider},
        tries=tries,
        unclear_for=unclear_for,
        not_found=asked,
        **patience(found),
    )
    decision = decide(FailureClass.AMBIGUOUS, Importance(message.importance), facts)
    # The provider has been blamed when it happened; that nobody knows yet is no further failure.
    blameless = replace(decision, breaker=Breaker.LEAVE, alert=decision.alert or _alert_of_the_end(decision, asked))
    carry_out(blameless, message, Failure(FailureClass.AMBIGUOUS, attempt.detail), provider=attempt.provider)
    return decision


def _alert_of_the_end(decision: Decision, asked: bool) -> str:
    """Critical mail has an alert by policy; other mail must not end in silence while nobody knows what became of it."""
    return NEVER_CLEARED_UP if decision.retry_after is None and decision.status and not asked else ""
