"""Sending one message: what is unclear is cleared up, then providers are called until one has it or policy says stop.

Each call is an Attempt, stored and committed before it and concluded after it; no transaction is open meanwhile.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError
from django.utils import timezone

from jobs.errors import RetryAfter
from mail import alerts, breakers, outcome, providers, waiting
from mail.clearing import clear_up, patience
from mail.consequences import carry_out, facts_of
from mail.envelope import sealed
from mail.errors import NotSendable
from mail.failure import OUTCOME_OF, Failure, FailureClass, Outcome
from mail.importance import Importance
from mail.models import Attempt, Message, Suppression
from mail.policy import Breaker, Decision, decide
from mail.providers import Account
from mail.status import Status

log = structlog.get_logger(__name__)


def send(message_id: UUID) -> str:
    """Work on a message until it has left our hands; its status then. Raises RetryAfter when that takes longer."""
    message = Message.objects.filter(pk=message_id).first()
    if message is None:
        return ""
    with suppress(NotSendable):
        _work_on(message)
    return str(message.status)


def _work_on(message: Message) -> None:
    if not message.pending:
        return
    attempts = list(message.attempts.all())
    if attempts and attempts[-1].unclear:
        clear_up(message, attempts[-1], tries_of(attempts[-1].provider, attempts))
    if message.pending:
        _send(message, attempts)


def _send(message: Message, attempts: list[Attempt]) -> None:
    """Call one provider after the other. Who has or may have had it before, to no avail, comes last."""
    tried: set[str] = set()
    had_it = {attempt.provider for attempt in attempts if attempt.outcome in (Outcome.ACCEPTED, Outcome.AMBIGUOUS)}
    while not (_expired(message) or _suppressed(message)):
        found = providers.choose(message.importance, without=tried, last=had_it)
        if found is None:
            raise RetryAfter(waiting.seconds(message), "no provider is free")
        failure, pause = _call(message, found, attempts)
        if failure is None:
            return
        tried.add(found.name)
        decision = _decide(message, failure, found, attempts, tried, pause)
        if decision.retry_after is None:
            return
        if not decision.fall_back:
            raise RetryAfter(decision.retry_after.total_seconds(), failure.detail)


def _expired(message: Message) -> bool:
    if message.expires_at > timezone.now():
        return False
    message.learn(Status.EXPIRED)
    if message.importance == Importance.CRITICAL:
        alerts.alert("expired", "it could not be sent in time", message=message)
    return True


def _suppressed(message: Message) -> bool:
    suppression = Suppression.objects.against(message.address, message.importance)
    if suppression is None:
        return False
    if message.learn(Status.SUPPRESSED):
        message.note("suppressed", str(suppression.reason))
    return True


def _call(message: Message, found: Account, attempts: list[Attempt]) -> tuple[Failure | None, timedelta | None]:
    """One attempt by one provider: what was wrong, None if nothing, and the pause that the provider asks for."""
    attempt = _begun(message, found)
    attempts.append(attempt)
    try:
        provider_message_id = _hand_over(sealed(message, attempt), found)
    except Exception as error:
        providers.hang_up(found.name)
        failure = outcome.failure_of(error)
        attempt.conclude(OUTCOME_OF[failure.kind], failure)
        log.warning("attempt_failed", message_id=str(message.pk), attempt_id=str(attempt.pk), provider=found.name)
        return failure, outcome.asked_pause(error, timezone.now())
    except BaseException:
        providers.hang_up(found.name)
        raise
    message.accept(attempt, provider_message_id)
    _works(found)
    return None, None


def _works(found: Account) -> None:
    if breakers.worked(found.name):
        waiting.end()


def _begun(message: Message, found: Account) -> Attempt:
    try:
        return message.begin_attempt(found.name)
    except IntegrityError:
        raise RetryAfter(1, "another attempt is under way") from None


def _hand_over(mail: Any, found: Account) -> str:
    """The provider's id of the mail; raises what Anymail and requests raise."""
    providers.line_to(found).send(mail)
    return str(mail.anymail_status.message_id or "")


def _decide(
    message: Message,
    failure: Failure,
    found: Account,
    attempts: list[Attempt],
    tried: set[str],
    pause: timedelta | None,
) -> Decision:
    facts = facts_of(
        message,
        failure.kind,
        tried=tried,
        tries=tries_of(found.name, attempts),
        asked_pause=pause,
        **patience(found),
    )
    decision = decide(failure.kind, Importance(message.importance), facts)
    carry_out(decision, message, failure, provider=found.name, probing=found.probing)
    if decision.breaker == Breaker.LEAVE:
        _works(found)  # the answer speaks against the message, or asks for a pause, and is an answer
    if decision.resends:
        message.wait()
    return decision


def tries_of(provider: str, attempts: list[Attempt]) -> int:
    """How often this provider has failed in a way that counts: a pause that it asked for does not."""
    counted = [
        attempt
        for attempt in attempts
        if attempt.provider == provider and attempt.failure_class not in ("", FailureClass.THROTTLED)
    ]
    return max(len(counted), 1)
