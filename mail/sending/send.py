"""The work of the job mail.send: call one provider after another until one accepts the message or policy says stop.

Each call is an Attempt, committed before the call and concluded after it; no transaction is open during the call.
Attempts that need nothing but a call are begun, and successes are stored, many at a time (mail.sending.batches).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import prefetch_related_objects
from django.utils import timezone

from jobs.errors import RetryAfter
from mail import alerts
from mail.addresses.normalize import address_digest
from mail.errors import NotSendable, ProviderNotCalled
from mail.failure import OUTCOME_OF, Failure, FailureClass, Outcome
from mail.importance import Importance
from mail.models import Attempt, Broadcast, Event, Message, StreamSuppression, Suppression
from mail.policy.apply_policy import apply_policy
from mail.policy.decision import Decision
from mail.policy.rules import Breaker, provider_excluding_classes
from mail.providers import breakers, connections, select
from mail.providers.accounts import Account, accounts
from mail.reasons import Reason
from mail.sending import classify_errors, holds, pacing, statements
from mail.sending.ambiguous import resolve
from mail.sending.batches import Accepted, Call
from mail.sending.to_anymail import to_anymail
from mail.status import Status

log = structlog.get_logger(__name__)

LISTED_AS = {
    Reason.BOUNCE: FailureClass.LISTED_BOUNCE,
    Reason.MAILBOX_FULL: FailureClass.LISTED_BOUNCE,
    Reason.SOFT_BOUNCES: FailureClass.LISTED_BOUNCE,
    Reason.COMPLAINT: FailureClass.LISTED_COMPLAINT,
    Reason.UNSUBSCRIBE: FailureClass.LISTED_UNSUBSCRIBE,
    Reason.MANUAL: FailureClass.LISTED_UNKNOWN,
}
"""What a suppression of ours means for a message."""


def send(message_or_call: UUID | Call) -> Accepted | str:
    """Work on a message until a provider has accepted it or it has ended; returns the success, or its status.

    Its first call may have been begun already. Raises RetryAfter when the message has to wait.
    """
    call = None if isinstance(message_or_call, UUID) else message_or_call
    message = (
        statements.message_to_send(message_or_call) if isinstance(message_or_call, UUID) else message_or_call.message
    )
    if message is None:
        return ""
    accepted = None
    try:
        accepted = _call_providers(message, [], call) if call else _work_on(message)
    except NotSendable:
        pass
    except RetryAfter:
        if message.status == Status.SCHEDULED:
            message.return_to_queue()
        raise
    return accepted or str(message.status)


def _work_on(message: Message) -> Accepted | None:
    if not message.pending or message.awaits_release:
        return None
    attempts = list(message.attempts.all()) if getattr(message, "was_tried", True) else []
    if unclear := _unclear(attempts):
        for attempt in unclear:
            if message.pending:
                resolve(message, attempt, _counted_tries(attempt.provider, attempts))
        attempts = list(message.attempts.all())
    return _call_providers(message, attempts) if message.pending else None


def _unclear(attempts: list[Attempt]) -> list[Attempt]:
    """What providers have to be asked about before another call: unrecorded attempts, and the last one of ours."""
    ours = [attempt for attempt in attempts if not attempt.unrecorded]
    unrecorded = [attempt for attempt in attempts if attempt.unrecorded]
    return [attempt for attempt in (*unrecorded, *ours[-1:]) if attempt.ambiguous]


def _call_providers(message: Message, attempts: list[Attempt], call: Call | None = None) -> Accepted | None:
    """Call providers in turn. Those that refused the message are left out; those that may have had it come last."""
    refused = _providers_that_refused(message, attempts)
    had_it = {attempt.provider for attempt in attempts if attempt.outcome in (Outcome.ACCEPTED, Outcome.AMBIGUOUS)}
    last = had_it | _providers_that_list(message)
    excluded = set(refused)
    while call := call or _next_call(message, attempts, refused, excluded, last):
        attempts.append(call.attempt)
        answer = _make(call)
        if isinstance(answer, Accepted):
            return answer
        failure, requested_pause = answer
        excluded.add(call.account.name)
        decision = _record_failure(message, failure, call.account, attempts, excluded, requested_pause)
        if decision.retry_after is None:
            return None
        if not decision.fall_back or decision.retry_after:
            raise RetryAfter(decision.retry_after.total_seconds(), failure.detail)
        call = None
    return None


def _next_call(
    message: Message, attempts: list[Attempt], refused: set[str], excluded: set[str], last: set[str]
) -> Call | None:
    """Begin an attempt with the provider whose turn it is; None if the message has ended instead."""
    if _expire(message) or _cancel(message) or _suppress(message, attempts):
        return None
    holds.hold_if_stream_stopped(message)
    holds.hold_if_domain_slowed(message)
    account = select.choose(message.importance, excluded, last, message.sender)
    if account is None:
        raise RetryAfter(holds.seconds_until_free(message, refused), "no provider is free")
    if not account.probing:
        pacing.reserve_slot(message, account)
    return _begin(message, account, attempts)


def _providers_that_refused(message: Message, attempts: list[Attempt]) -> set[str]:
    """Providers that never get this message again, by their answer or by an event."""
    if not attempts:
        return set()
    excluding = provider_excluding_classes(Importance(message.importance))
    by_event = Event.objects.filter(message=message, failure_class__in=excluding).values_list("provider", flat=True)
    return {*by_event, *(attempt.provider for attempt in attempts if attempt.failure_class in excluding)}


def _providers_that_list(message: Message) -> set[str]:
    """Providers whose own list has the recipient of critical mail as unsubscribed."""
    if message.importance != Importance.CRITICAL or len(accounts()) < 2:
        return set()
    rows = Suppression.objects.in_force().filter(digest=address_digest(message.address), reason=Reason.UNSUBSCRIBE)
    return set(rows.values_list("source", flat=True))


def _expire(message: Message) -> bool:
    """End a message whose expires_at has passed; True if it has."""
    if message.expires_at > timezone.now():
        return False
    with transaction.atomic():
        message.advance_to(Status.EXPIRED)
        if message.importance == Importance.CRITICAL:
            alerts.alert("expired", "it could not be sent in time", message=message)
    return True


def _cancel(message: Message) -> bool:
    """End a message of a cancelled broadcast; True if so. When it was cancelled, a provider was being called."""
    broadcast_id = message.broadcast_id
    if not (broadcast_id and Broadcast.objects.filter(pk=broadcast_id, cancelled_at__isnull=False).exists()):
        return False
    with transaction.atomic():
        if message.advance_to(Status.CANCELLED):
            message.note("cancelled")
    return True


def _suppress(message: Message, attempts: list[Attempt]) -> bool:
    """End a message whose recipient is suppressed, or does not want its stream; True if so.

    An alert tells of critical mail that was tried before: its sender may have seen it sent, and expects it to arrive.
    """
    if (failure := _listed(message)) is None:
        return False
    with transaction.atomic():
        if message.advance_to(Status.SUPPRESSED, failure):
            message.note("suppressed", failure.detail)
            if attempts and message.importance == Importance.CRITICAL:
                alerts.alert("suppressed", f"not sent again: {failure.detail}", message=message)
    return True


def _listed(message: Message) -> Failure | None:
    """Why our own lists forbid this mail; None if they do not."""
    if reason := statements.suppression_reason(message):
        return Failure(LISTED_AS[Reason(reason)], f"its address is suppressed: {reason}")
    if message.importance == Importance.CRITICAL:
        return None
    if StreamSuppression.objects.forbids(message.user_id, message.stream, message.address):
        return Failure(FailureClass.LISTED_UNSUBSCRIBE, f"it gets no mail of the stream {message.stream}")
    return None


def _begin(message: Message, account: Account, attempts: list[Attempt]) -> Call:
    if getattr(message, "has_files", True):
        # Before the attempt begins: a database error here leaves nothing ambiguous.
        prefetch_related_objects([message], "attachments")
    try:
        attempt = message.begin_attempt(account.name, account.esp, account.domain_for(message.sender))
    except IntegrityError:
        raise RetryAfter(1, "another attempt is under way") from None
    if ambiguous := [earlier for earlier in attempts if earlier.ambiguous]:
        message.mark_possible_duplicate(ambiguous[-1].provider)
    return Call(message, account, attempt)


def _make(call: Call) -> Accepted | tuple[Failure, timedelta | None]:
    """Call the provider: its success, or the failure and the pause that the provider asks for."""
    account, attempt = call.account, call.attempt
    try:
        provider_message_id = _hand_over(call.message, attempt, account)
    except Exception as error:
        connections.close(account.name)
        log.warning(
            "attempt_failed", message_id=str(attempt.message_id), attempt_id=str(attempt.pk), provider=account.name
        )
        return classify_errors.classify_error(error), classify_errors.requested_pause(error, timezone.now())
    except BaseException:
        connections.close(account.name)
        raise
    return Accepted(attempt, provider_message_id)


def _hand_over(message: Message, attempt: Attempt, account: Account) -> str:
    """Returns the provider's id of the mail. Raises ProviderNotCalled, RecipientRefused, and what Anymail raises."""
    with _before_the_call(FailureClass.INVALID, "it cannot be put together"):
        mail = to_anymail(message, attempt, account)
    with _before_the_call(FailureClass.CONFIGURATION, "the provider's settings are wrong"):
        connection = connections.connection_for(account)
    connection.send(mail)
    classify_errors.raise_if_refused(mail, getattr(connection.backend, "esp_name", ""))
    return str(mail.anymail_status.message_id or "")


@contextmanager
def _before_the_call(kind: FailureClass, problem: str) -> Iterator[None]:
    """Turns any exception into ProviderNotCalled: the provider cannot have the message."""
    try:
        yield
    except ProviderNotCalled:
        raise
    except Exception as error:
        raise ProviderNotCalled(Failure(kind, f"{problem} ({type(error).__name__})")) from error


def _record_failure(
    message: Message,
    failure: Failure,
    account: Account,
    attempts: list[Attempt],
    excluded: set[str],
    requested_pause: timedelta | None,
) -> Decision:
    """Record the failure together with its consequences, so that a crash in between records nothing."""
    decision = Decision()
    with transaction.atomic():
        message.lock()
        if attempts[-1].conclude(OUTCOME_OF[failure.kind], failure):
            decision = apply_policy(
                message,
                failure,
                provider=account.name,
                excluded=excluded,
                probing=account.probing,
                tries=_counted_tries(account.name, attempts),
                requested_pause=requested_pause,
            )
            if decision.resends:
                message.return_to_queue()
    breakers.invalidate_cache()  # other threads may have read it before the commit
    if decision.breaker == Breaker.LEAVE:
        # The provider has answered, and the failure is not its own; or an event has reported that it has the message.
        holds.record_success(account.name)
    return decision


def _counted_tries(provider: str, attempts: list[Attempt]) -> int:
    """This provider's failures, without those that only asked for a pause; at least 1."""
    counted = [
        attempt
        for attempt in attempts
        if attempt.provider == provider
        and not attempt.unrecorded
        and attempt.failure_class not in ("", FailureClass.THROTTLED)
    ]
    return max(len(counted), 1)
