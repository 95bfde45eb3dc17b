"""From a failure to what is done about it: the facts are gathered, the policy decides, and its decision is carried out.

mail.sending.send comes here with what calls came to, mail.events.apply with what providers told.
"""

import random
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from jobs import submit as jobs
from mail import alerts
from mail.addresses.normalize import address_digest
from mail.failure import Failure, FailureClass
from mail.importance import Importance
from mail.models import Attempt, Message, Strike, Suppression
from mail.policy.table import Breaker, Decision, Facts, Suppress, decide, only_elsewhere, rule_of
from mail.providers import breakers, select
from mail.status import Status
from mail.submit import build_send_job
from mail.suppressions.lifting import lift_under_way

log = structlog.get_logger(__name__)

LISTED = frozenset({FailureClass.LISTED_BOUNCE, FailureClass.LISTED_COMPLAINT, FailureClass.LISTED_UNSUBSCRIBE})
"""The provider did not send the message because of its own suppression list."""


def deal_with(message: Message, failure: Failure, *, provider: str, arrived: bool = False) -> Decision:
    """Do all that the policy says about what a provider told of a message which it had accepted.

    The message's status, too: it is not to be set before, because a bounce may also mean that it is sent once more.
    arrived: another attempt has delivered it.
    """
    importance = Importance(message.importance)
    had_it = Q(outcome=Attempt.Outcome.ACCEPTED) | Q(failure_class__in=only_elsewhere(importance))
    attempts = Attempt.objects.filter(had_it, message=message).values_list("provider", "outcome")
    facts = facts_of(
        message,
        failure.kind,
        tried={provider, *(name for name, _ in attempts)},
        tries=max(sum(outcome == Attempt.Outcome.ACCEPTED for _, outcome in attempts), 1),
        delivered=message.status == Status.DELIVERED,
        arrived=arrived,
    )
    decision = decide(failure.kind, importance, facts)
    carry_out(decision, message, failure, provider=provider)
    if decision.retry_after is not None:
        send_again(message, decision.retry_after, failure)
    return decision


def facts_of(message: Message, kind: FailureClass, *, tried: set[str], **known: Any) -> Facts:
    """What the policy wants to know. tried: the providers that are not asked again now. known: further facts."""
    now = timezone.now()
    strikes, struck_for = 0, timedelta(0)
    if rule_of(kind, Importance(message.importance)).strikes and message.address:
        before = list(Strike.objects.of(message.address, kind).values_list("at", flat=True))
        strikes, struck_for = len(before), now - min(before, default=now)
    return Facts(
        expires_in=timedelta(0) if message.erased_at else message.expires_at - now,
        other_provider=select.another(than=tried),
        other_later=select.another_later(than=tried),
        strikes=strikes,
        struck_for=struck_for,
        jitter=random.random(),  # noqa: S311 nobody gains by guessing it
        **known,
    )


def carry_out(
    decision: Decision, message: Message, failure: Failure, *, provider: str = "", probing: bool = False
) -> None:
    """Everything but the retry, which is the caller's, or nothing. probing: the call was an open breaker's one try."""
    log.info(
        "mail_decision",
        message_id=str(message.pk),
        failure=str(failure.kind),
        status=decision.status,
        retry_after=decision.retry_after and decision.retry_after.total_seconds(),
        provider=provider,
    )
    with transaction.atomic():
        _about_the_address(decision, message, failure, provider)
        _about_the_provider(decision, failure, provider, probing)
        if decision.status and message.learn(decision.status, failure):
            message.note("given_up", str(failure.kind), provider)
        if decision.alert:
            alerts.alert(decision.alert, failure.detail, message=message, provider=provider)


def forgive(address: str) -> None:
    """A message has arrived: the next failure is the first in a row again."""
    Strike.objects.filter(digest=address_digest(address)).delete()


def send_again(message: Message, after: timedelta, failure: Failure) -> None:
    """Have a message that a provider had accepted sent once more."""
    if not message.requeue():
        return
    message.note("sent_again", str(failure.kind))
    submit_sending(message, after)


def submit_sending(message: Message, after: timedelta = timedelta(0)) -> None:
    """A job that sends this message."""
    job = build_send_job(message, timezone.now() + after if after else None)
    Message.objects.filter(pk=message.pk).update(job_id=job.pk)
    jobs.store(job)


def _about_the_address(decision: Decision, message: Message, failure: Failure, provider: str) -> None:
    if not message.address:
        return
    if decision.strike:
        Strike.objects.create(digest=address_digest(message.address), kind=failure.kind)
    if (suppress := decision.suppress) and not _is_being_lifted(message, failure, suppress):
        until = timezone.now() + suppress.lasts if suppress.lasts else None
        Suppression.objects.suppress(message.address, suppress.reason, suppress.scope, until, source=provider)
    if decision.slow:
        _about_the_domain(message, decision.slow, failure)


def _is_being_lifted(message: Message, failure: Failure, suppress: Suppress) -> bool:
    """Whether the provider's list has the address only because it was not told yet that it was lifted here."""
    return failure.kind in LISTED and lift_under_way(message.address, suppress.reason)


def _about_the_domain(message: Message, slow: timedelta, failure: Failure) -> None:
    domain = message.address.rpartition("@")[2]
    if breakers.blocked(domain, address_digest(message.address), slow):
        alerts.alert("domain_slowed_down", f"{domain} gets no bulk mail for a while: {failure.detail}")


def _about_the_provider(decision: Decision, failure: Failure, provider: str, probing: bool) -> None:
    if decision.pause:
        breakers.pause(provider, decision.pause, failure.detail)
    if decision.breaker == Breaker.LEAVE:
        return
    at_once = decision.breaker == Breaker.OPEN
    if breakers.failed(provider, failure.detail, probing=probing, at_once=at_once):
        alerts.alert("provider_open", failure.detail, provider=provider)
