"""What became of an attempt whose outcome nobody knows: the provider is asked before anything is sent again."""

from dataclasses import replace
from typing import Any

import structlog
from django.conf import settings
from django.utils import timezone

from jobs.errors import RetryAfter
from mail import lookups, providers, receiver
from mail.consequences import carry_out, facts_of
from mail.failure import Failure, FailureClass, Outcome
from mail.importance import Importance
from mail.lookups import Item
from mail.models import Attempt, Event, Message
from mail.policy import Breaker, Decision, decide
from mail.providers import Account
from mail.reports import NotAnEvent

log = structlog.get_logger(__name__)

DIED = Failure(FailureClass.AMBIGUOUS, "the process that called the provider ended before the answer came")
UNKNOWN = Failure(FailureClass.UNREACHABLE, "the provider does not know it")


def clear_up(message: Message, attempt: Attempt, tries: int) -> None:
    """Afterwards the message has left our hands, or may be sent. Raises RetryAfter while neither is certain."""
    if not attempt.outcome:
        attempt.conclude(Outcome.AMBIGUOUS, DIED)
    found = providers.account(attempt.provider)
    items = lookups.events_of(attempt, found) if found and lookups.can_ask(found) else None
    if items:
        _found(message, attempt, items)
        return
    decision = _decide(message, attempt, tries, found, asked=items is not None)
    if decision.reconcile and decision.retry_after:
        raise RetryAfter(decision.retry_after.total_seconds(), "it is unclear whether the provider has it")
    if decision.retry_after is None:
        return
    if decision.possible_duplicate:
        message.risk_a_duplicate(attempt.provider)
    else:
        attempt.conclude(Outcome.TRANSIENT, UNKNOWN)
    message.wait()
    if decision.retry_after:
        raise RetryAfter(decision.retry_after.total_seconds(), "to be sent again")


def patience(found: Account | None) -> dict[str, Any]:
    """The facts that decide how long an attempt may stay unclear."""
    return {"settled_after": settings.MAIL_SETTLED_AFTER, "can_ask": lookups.can_ask(found)}


def take(items: list[Item]) -> int:
    """Let the receiver have what a provider was asked for; how many of them were news."""
    return sum(_taken(item) for item in items)


def _found(message: Message, attempt: Attempt, items: list[Item]) -> None:
    message.note("found", "the provider was asked, and has it", attempt.provider)
    message.accept(attempt, _message_id(items))
    take(items)


def _decide(message: Message, attempt: Attempt, tries: int, found: Account | None, *, asked: bool) -> Decision:
    facts = facts_of(
        message,
        FailureClass.AMBIGUOUS,
        tried={attempt.provider},
        tries=tries,
        unclear_for=timezone.now() - attempt.started_at,
        not_found=asked,
        **patience(found),
    )
    decision = decide(FailureClass.AMBIGUOUS, Importance(message.importance), facts)
    # The provider has been blamed when it happened; that nobody knows yet is no further failure.
    blameless = replace(decision, breaker=Breaker.LEAVE)
    carry_out(blameless, message, Failure(FailureClass.AMBIGUOUS, attempt.detail), provider=attempt.provider)
    return decision


def _taken(item: Item) -> bool:
    try:
        return receiver.take_mailgun(item, Event.Source.LOOKUP) is not None
    except NotAnEvent:
        log.warning("look_up_brought_no_event")
        return False


def _message_id(items: list[Item]) -> str:
    for item in items:
        message = item.get("message")
        headers = message.get("headers") if isinstance(message, dict) else None
        if isinstance(headers, dict) and headers.get("message-id"):
            return f"<{str(headers['message-id']).strip('<>')}>"
    return ""
