"""From a failure to its consequences: gather the facts, let mail.policy.decision decide, execute the decision.

mail.sending comes here with failures of calls, mail.events.apply with failures that providers report.
"""

import random
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from jobs import submit as jobs
from mail import alerts
from mail.addresses.normalize import address_digest
from mail.failure import Failure, FailureClass
from mail.importance import Importance
from mail.models import Attempt, Message, Strike, Suppression
from mail.policy.decision import Decision, Facts, decide
from mail.policy.rules import Breaker, Suppress, provider_excluding_classes, rule_for
from mail.providers import accounts, breakers, refused_senders, select
from mail.providers.mailgun_api import has_events_api
from mail.status import Status
from mail.submit import build_send_job
from mail.suppressions.lifting import is_lift_pending

log = structlog.get_logger(__name__)

LISTED = frozenset({FailureClass.LISTED_BOUNCE, FailureClass.LISTED_COMPLAINT, FailureClass.LISTED_UNSUBSCRIBE})
"""The provider did not send the message because of its own suppression list."""


def apply_policy(
    message: Message,
    failure: Failure,
    *,
    provider: str,
    excluded: Collection[str],
    probing: bool = False,
    blame_provider: bool = True,
    **known: Any,
) -> Decision:
    """Decide about a failure and execute the decision, except for the retry, which is left to the caller.

    excluded: providers that do not get the message now. probing: the call was the probe of an open breaker.
    blame_provider: False if its breaker has counted the failure already. known: further fields of Facts.
    """
    facts = _facts(message, failure.kind, provider, excluded, known)
    decision = decide(failure.kind, Importance(message.importance), facts)
    if not blame_provider:
        decision = replace(decision, breaker=Breaker.LEAVE)
    log.info(
        "mail_decision",
        message_id=str(message.pk),
        failure=str(failure.kind),
        status=decision.status,
        retry_after=decision.retry_after and decision.retry_after.total_seconds(),
        provider=provider,
    )
    _execute(decision, message, failure, provider, probing)
    return decision


def handle_reported_failure(
    message: Message, failure: Failure, *, provider: str, delivered_by_another: bool = False
) -> Decision:
    """Apply the policy to a failure that a provider reports of a message that it had accepted, retry included.

    The caller must not set the message's status before: the decision may be to send it again.
    delivered_by_another: another attempt has delivered it.
    """
    excluding = provider_excluding_classes(Importance(message.importance))
    accepted_or_refused = Q(outcome=Attempt.Outcome.ACCEPTED) | Q(failure_class__in=excluding)
    attempts = Attempt.objects.filter(accepted_or_refused, message=message).values_list("provider", "outcome")
    decision = apply_policy(
        message,
        failure,
        provider=provider,
        excluded={provider, *(name for name, _ in attempts)},
        tries=max(sum(outcome == Attempt.Outcome.ACCEPTED for _, outcome in attempts), 1),
        delivered=message.status == Status.DELIVERED,
        delivered_by_another=delivered_by_another,
    )
    if decision.retry_after is not None and message.reopen():
        message.note("sent_again", str(failure.kind))
        submit_sending_job(message, decision.retry_after)
    return decision


def clear_strikes(address: str) -> None:
    """A message was delivered: the next failure is the first in a row again."""
    Strike.objects.filter(digest=address_digest(address)).delete()


def submit_sending_job(message: Message, after: timedelta = timedelta(0)) -> None:
    """A new job that sends this message."""
    job = build_send_job(message, timezone.now() + after if after else None)
    Message.objects.filter(pk=message.pk).update(job_id=job.pk)
    jobs.store(job)


def _facts(
    message: Message, kind: FailureClass, provider: str, excluded: Collection[str], known: dict[str, Any]
) -> Facts:
    now = timezone.now()
    strikes: list[Any] = []
    if rule_for(kind, Importance(message.importance)).strikes and message.address:
        strikes = list(Strike.objects.of(message.address, kind).values_list("at", flat=True))
    return Facts(
        expires_in=timedelta(0) if message.erased_at else message.expires_at - now,
        other_provider=select.other_is_free(excluded, message.sender),
        other_later=select.other_exists(excluded),
        strikes=len(strikes),
        first_strike_ago=now - min(strikes, default=now),
        jitter=random.random(),  # noqa: S311 not a secret
        settled_after=settings.MAIL_SETTLED_AFTER,
        can_look_up=has_events_api(accounts.find(provider)),
        **known,
    )


def _execute(decision: Decision, message: Message, failure: Failure, provider: str, probing: bool) -> None:
    with transaction.atomic():
        if message.address:
            _act_on_address(decision, message, failure, provider)
        _act_on_provider(decision, message, failure, provider, probing)
        if decision.status and message.advance_to(decision.status, failure):
            message.note("given_up", str(failure.kind), provider)
        if decision.alert:
            alerts.alert(decision.alert, failure.detail, message=message, provider=provider)


def _act_on_address(decision: Decision, message: Message, failure: Failure, provider: str) -> None:
    digest = address_digest(message.address)
    if decision.strike:
        Strike.objects.create(digest=digest, kind=failure.kind)
    if (suppress := decision.suppress) and not _is_stale_listing(message, failure, suppress):
        until = timezone.now() + suppress.lasts if suppress.lasts else None
        Suppression.objects.suppress(message.address, suppress.reason, suppress.scope, until, source=provider)
    if decision.slow_domain_for:
        domain = message.address.rpartition("@")[2]
        if breakers.record_block(domain, digest, decision.slow_domain_for):
            alerts.alert("domain_slowed_down", f"{domain} gets no bulk mail for a while: {failure.detail}")


def _is_stale_listing(message: Message, failure: Failure, suppress: Suppress) -> bool:
    """True if the provider's list still has an address that was lifted here."""
    return failure.kind in LISTED and is_lift_pending(message.address, suppress.reason)


def _act_on_provider(decision: Decision, message: Message, failure: Failure, provider: str, probing: bool) -> None:
    if decision.pause:
        breakers.pause(provider, decision.pause, failure.detail)
    if decision.breaker == Breaker.LEAVE:
        return
    if decision.breaker == Breaker.SENDER:
        opened = refused_senders.record_refusal(provider, message.sender, failure.detail, probing=probing)
    else:
        at_once = decision.breaker == Breaker.OPEN
        opened = breakers.record_failure(provider, failure.detail, probing=probing, at_once=at_once)
    if opened:
        alerts.alert("provider_open", failure.detail, provider=provider)
