"""Sending one message: what is unclear is cleared up, then providers are called until one has it or policy says stop.

Each call is an Attempt, stored and committed before it and concluded after it; no transaction is open meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects
from django.utils import timezone

from jobs.errors import RetryAfter
from mail import alerts
from mail.addresses.normalize import address_digest
from mail.errors import NotCalled, NotSendable
from mail.failure import OUTCOME_OF, Failure, FailureClass, Outcome
from mail.importance import Importance
from mail.models import Attachment, Attempt, Event, Message, StreamSuppression, Suppression
from mail.models.prepared import Prepared
from mail.models.queryset import SuppressionQuerySet
from mail.policy.apply_policy import carry_out, facts_of
from mail.policy.table import Breaker, Decision, decide, only_elsewhere
from mail.providers import breakers, select
from mail.providers.accounts import Account, accounts
from mail.reasons import Reason, Scope
from mail.sending import classify_errors, holds, pacing
from mail.sending.ambiguous import clear_up, patience
from mail.sending.to_anymail import sealed
from mail.status import Status

log = structlog.get_logger(__name__)


def _to_send(message_id: UUID) -> QuerySet[Message]:
    """With was_tried and has_files, which mostly spare a look at attempts and attachments."""
    files, attempts = (model.objects.filter(message=OuterRef("pk")) for model in (Attachment, Attempt))
    rows = Message.objects.annotate(was_tried=Exists(attempts), has_files=Exists(files))
    return rows.filter(pk=message_id).order_by()


def _in_force(digest: str) -> SuppressionQuerySet:
    in_force: SuppressionQuerySet = Suppression.objects.in_force().filter(digest=digest).strongest_first()
    return in_force


TO_SEND = Prepared(_to_send, UUID(int=1), lambda pk: Message._meta.pk.get_db_prep_value(pk, connection))
AGAINST_ALL = Prepared(lambda digest: _in_force(digest).filter(scope=Scope.ALL).values_list("reason"), "digest")
AGAINST_BULK = Prepared(lambda digest: _in_force(digest).values_list("reason"), "digest")


def send(message_id: UUID) -> str:
    """Work on a message until it has left our hands; its status then. Raises RetryAfter when that takes longer."""
    message = next(iter(Message.objects.raw(*TO_SEND.sql(message_id))), None)
    if message is None:
        return ""
    try:
        _work_on(message)
    except NotSendable:
        pass
    except RetryAfter:
        if message.status == Status.SCHEDULED:
            message.wait()
        raise
    return str(message.status)


def _work_on(message: Message) -> None:
    if not message.pending or message.awaits_release:
        return
    attempts = list(message.attempts.all()) if getattr(message, "was_tried", True) else []
    if attempts and attempts[-1].unclear:
        clear_up(message, attempts[-1], tries_of(attempts[-1].provider, attempts))
    if message.pending:
        _send(message, attempts)


def _send(message: Message, attempts: list[Attempt]) -> None:
    """Call one provider after the other. Those that have or may have had it before, to no avail, come last.

    Those that have refused to send it are left out.
    """
    refusing = _refusing(message, attempts)
    tried = set(refusing)
    had_it = _listing(message) | {
        attempt.provider for attempt in attempts if attempt.outcome in (Outcome.ACCEPTED, Outcome.AMBIGUOUS)
    }
    while not (_expired(message) or _suppressed(message)):
        holds.for_a_stopped_stream(message)
        holds.for_a_slow_domain(message)
        found = select.choose(message.importance, without=tried, last=had_it)
        if found is None:
            raise RetryAfter(holds.seconds(message, refusing), "no provider is free")
        if not found.probing:
            pacing.wait_for_a_place(message, found)
        failure, pause = _call(message, found, attempts)
        if failure is None:
            return
        tried.add(found.name)
        decision = _decide(message, failure, found, attempts, tried, pause)
        if decision.retry_after is None:
            return
        if not decision.fall_back or decision.retry_after:
            raise RetryAfter(decision.retry_after.total_seconds(), failure.detail)


def _refusing(message: Message, attempts: list[Attempt]) -> set[str]:
    """Providers that have said of this message that they do not send it, though others might."""
    if not attempts:
        return set()
    kinds = only_elsewhere(Importance(message.importance))
    told = Event.objects.filter(message=message, failure_class__in=kinds).values_list("provider", flat=True)
    return {*told, *(attempt.provider for attempt in attempts if attempt.failure_class in kinds)}


def _listing(message: Message) -> set[str]:
    """Providers on whose own list the recipient of critical mail is unsubscribed: they are tried last."""
    if message.importance != Importance.CRITICAL or len(accounts()) < 2:
        return set()
    found = Suppression.objects.in_force().filter(digest=address_digest(message.address), reason=Reason.UNSUBSCRIBE)
    return set(found.values_list("source", flat=True))


def _expired(message: Message) -> bool:
    if message.expires_at > timezone.now():
        return False
    with transaction.atomic():
        message.learn(Status.EXPIRED)
        if message.importance == Importance.CRITICAL:
            alerts.alert("expired", "it could not be sent in time", message=message)
    return True


def _suppressed(message: Message) -> bool:
    against = AGAINST_BULK if message.importance == Importance.BULK else AGAINST_ALL
    suppression = against.first(address_digest(message.address))
    if suppression:
        reason = suppression[0]
    elif message.importance != Importance.CRITICAL and StreamSuppression.objects.forbids(
        message.user_id, message.stream, message.address
    ):
        reason = f"it gets no mail of the stream {message.stream}"
    else:
        return False
    with transaction.atomic():
        if message.learn(Status.SUPPRESSED):
            message.note("suppressed", reason)
    return True


def _call(message: Message, found: Account, attempts: list[Attempt]) -> tuple[Failure | None, timedelta | None]:
    """One attempt by one provider: what was wrong, None if nothing, and the pause that the provider asks for."""
    if getattr(message, "has_files", True):
        prefetch_related_objects([message], "attachments")  # a database that fails then has nothing to leave unclear
    attempt = _begun(message, found, attempts)
    attempts.append(attempt)
    try:
        provider_message_id = _hand_over(message, attempt, found)
    except Exception as error:
        select.hang_up(found.name)
        log.warning("attempt_failed", message_id=str(message.pk), attempt_id=str(attempt.pk), provider=found.name)
        return classify_errors.failure_of(error), classify_errors.asked_pause(error, timezone.now())
    except BaseException:
        select.hang_up(found.name)
        raise
    message.accept(attempt, provider_message_id)
    _works(found)
    return None, None


def _works(found: Account) -> None:
    if breakers.worked(found.name):
        holds.end()


def _begun(message: Message, found: Account, before: list[Attempt]) -> Attempt:
    try:
        attempt = message.begin_attempt(found.name, found.esp, found.domain_for(message.sender))
    except IntegrityError:
        raise RetryAfter(1, "another attempt is under way") from None
    if unclear := [earlier for earlier in before if earlier.unclear]:
        message.risk_a_duplicate(unclear[-1].provider)
    return attempt


def _hand_over(message: Message, attempt: Attempt, found: Account) -> str:
    """The provider's id of the mail. Raises NotCalled, and from the call itself what Anymail and requests raise."""
    with _before_the_call(FailureClass.INVALID, "it cannot be put together"):
        mail = sealed(message, attempt, found)
    with _before_the_call(FailureClass.CONFIGURATION, "the provider's settings are wrong"):
        line = select.line_to(found)
    line.send(mail)
    classify_errors.check_taken(mail, getattr(line.connection, "esp_name", ""))
    return str(mail.anymail_status.message_id or "")


@contextmanager
def _before_the_call(kind: FailureClass, said: str) -> Iterator[None]:
    """Whatever goes wrong here is no reason to believe that the provider has the message. Raises NotCalled."""
    try:
        yield
    except NotCalled:
        raise
    except Exception as error:
        raise NotCalled(Failure(kind, f"{said} ({type(error).__name__})")) from error


def _decide(
    message: Message,
    failure: Failure,
    found: Account,
    attempts: list[Attempt],
    tried: set[str],
    pause: timedelta | None,
) -> Decision:
    """The failure is recorded together with all that follows from it: whoever dies in between has recorded nothing."""
    with transaction.atomic():
        if not attempts[-1].conclude(OUTCOME_OF[failure.kind], failure):
            return Decision()  # an event has told meanwhile what came of it
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
        if decision.resends:
            message.wait()
    breakers.look_again()  # other threads may have looked before the commit
    if decision.breaker == Breaker.LEAVE:
        _works(found)  # the answer speaks against the message, or asks for a pause, and is an answer
    return decision


def tries_of(provider: str, attempts: list[Attempt]) -> int:
    """How often this provider has failed in a way that counts: a pause that it asked for does not."""
    counted = [
        attempt
        for attempt in attempts
        if attempt.provider == provider and attempt.failure_class not in ("", FailureClass.THROTTLED)
    ]
    return max(len(counted), 1)
