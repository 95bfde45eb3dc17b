"""What follows from one failure, by the rule for its class. Pure: no clock, no database.

mail.policy.apply_policy gathers the Facts, calls decide() and executes the Decision.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from mail.failure import FailureClass
from mail.importance import Importance
from mail.policy.rules import DAY, HOUR, MINUTE, SECOND, AlertWhen, Breaker, Rule, Suppress, rule_for
from mail.reasons import Scope
from mail.status import Status

DEFAULT_PAUSE, LONGEST_PAUSE = MINUTE, HOUR
OTHER_PROVIDER_WAIT = MINUTE
"""Between tries of another provider that is paused or whose breaker is open, for mail that this one cannot send."""
SHORTEST_LOOKUP_WAIT = 15 * SECOND
"""Before events are read again (Mailgun, "Events": they are indexed late)."""
LONGEST_LOOKUP_WAIT = 10 * MINUTE
LOOK_UP_FOR = DAY
"""Afterwards the provider is not asked any more: it keeps events for a limited time."""
SHORTEST_CRITICAL_WAIT = 5 * SECOND
"""Critical mail waits at most half of the time until it expires, or this long if that is longer."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known besides the failure.

    tries: after a call, how many calls of this provider for this message have failed, throttled ones not counted; after
    a provider's report, how many attempts any provider has accepted. At least 1. other_provider: another provider that
    may get the message is free now. other_later: there is such a provider, free or not. strikes: failures of this class
    of this address in a row before this one. first_strike_ago: age of the first. requested_pause: what the provider
    asked for. delivered: the message was reported as delivered before. delivered_by_another: by another attempt than
    the failed one. jitter: in [0, 1).

    Of an ambiguous attempt: ambiguous_for: since it began. settled_after: how long after that the provider's events are
    believed to be complete. can_look_up: the provider has an events API. not_found: it was asked, and has no event of
    the attempt.
    """

    tries: int = 1
    expires_in: timedelta = timedelta(hours=24)
    other_provider: bool = False
    other_later: bool = False
    strikes: int = 0
    first_strike_ago: timedelta = timedelta(0)
    requested_pause: timedelta | None = None
    delivered: bool = False
    delivered_by_another: bool = False
    jitter: float = 0.5
    ambiguous_for: timedelta = timedelta(0)
    settled_after: timedelta = timedelta(minutes=30)
    can_look_up: bool = True
    not_found: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """All consequences of a failure.

    retry_after: when the message is worked on again; None is never. reconcile: not to send it, but to ask the provider
    about the attempt. fall_back: the retry is for another provider. possible_duplicate: the retry may be a second copy.
    status: the message's new status; None leaves it. alert: the kind of alert; empty for none.
    """

    retry_after: timedelta | None = None
    fall_back: bool = False
    reconcile: bool = False
    possible_duplicate: bool = False
    suppress: Suppress | None = None
    strike: bool = False
    breaker: Breaker = Breaker.LEAVE
    pause: timedelta | None = None
    slow_domain_for: timedelta | None = None
    status: Status | None = None
    alert: str = ""

    @property
    def resends(self) -> bool:
        """True if the message will be given to a provider again."""
        return self.retry_after is not None and not self.reconcile


NO_FACTS = Facts()


def decide(kind: FailureClass, importance: Importance, facts: Facts = NO_FACTS) -> Decision:
    """All that follows from this failure of a message of this importance."""
    rule = rule_for(kind, importance)
    suppress = _suppression(rule, facts)
    if facts.delivered_by_another:
        return Decision(suppress=suppress, slow_domain_for=rule.slow_domain_for)
    if suppress and (suppress.scope == Scope.ALL or importance == Importance.BULK):
        next_step = Decision(status=rule.ends)
    else:
        next_step = _resolve(rule, importance, facts) if rule.ambiguous else _retry(rule, importance, facts)
    given_up = next_step.retry_after is None or facts.delivered
    alerts = rule.alert == AlertWhen.AT_ONCE or (given_up and rule.alert == AlertWhen.ON_GIVING_UP)
    return replace(
        next_step,
        suppress=suppress,
        strike=rule.strikes is not None,
        breaker=rule.breaker,
        pause=_pause(facts) if rule.pause else None,
        slow_domain_for=rule.slow_domain_for,
        alert=str(kind) if alerts else "",
    )


def _suppression(rule: Rule, facts: Facts) -> Suppress | None:
    """The strikes' suppression if this failure is the last strike, else the rule's own."""
    strikes = rule.strikes
    if strikes and facts.strikes + 1 >= strikes.limit and facts.first_strike_ago >= strikes.span:
        return strikes.suppress
    return rule.suppress


def _resolve(rule: Rule, importance: Importance, facts: Facts) -> Decision:
    """Ask the provider until its answer is certain, unless a possible duplicate is preferred."""
    settled = facts.ambiguous_for >= facts.settled_after
    if settled and facts.not_found:
        return _retry(rule, importance, facts)
    deadline = facts.settled_after
    if rule.duplicate_after is not None:
        deadline = min(rule.duplicate_after, facts.settled_after)
        if facts.ambiguous_for >= deadline:
            retry = _retry(rule, importance, facts)
            if retry.resends:
                return replace(retry, possible_duplicate=True)
    if (settled and not facts.can_look_up) or facts.ambiguous_for >= LOOK_UP_FOR:
        return Decision(status=rule.ends)
    return Decision(reconcile=True, retry_after=_until_next_lookup(facts, deadline))


def _until_next_lookup(facts: Facts, deadline: timedelta) -> timedelta:
    """Longer each time, but not past the deadline: the lookup then decides what follows."""
    wait = min(max(SHORTEST_LOOKUP_WAIT, facts.ambiguous_for), LONGEST_LOOKUP_WAIT)
    left = deadline - facts.ambiguous_for
    return min(wait, left) if left > timedelta(0) else wait


def _retry(rule: Rule, importance: Importance, facts: Facts) -> Decision:
    """Another call, of this provider or another, if one is allowed before the message expires."""
    if rule.only_elsewhere:
        wait = timedelta(0) if facts.other_provider else OTHER_PROVIDER_WAIT
        possible = (facts.other_provider or facts.other_later) and wait < facts.expires_in
        return Decision(retry_after=wait, fall_back=True) if possible else Decision(status=rule.ends)
    if not rule.endless and facts.tries > len(rule.waits):
        return Decision(status=rule.ends)
    # A message that no provider accepted has expired; one that bounced has bounced.
    too_late = Decision(status=Status.EXPIRED if rule.ends == Status.FAILED else rule.ends)
    if facts.expires_in <= timedelta(0):
        return too_late
    if rule.fall_back and facts.other_provider:
        return Decision(retry_after=timedelta(0), fall_back=True)
    wait = _wait(rule, facts)
    if importance == Importance.CRITICAL and not rule.pause:
        wait = min(wait, max(facts.expires_in / 2, SHORTEST_CRITICAL_WAIT))
    return Decision(retry_after=wait) if wait < facts.expires_in else too_late


def _wait(rule: Rule, facts: Facts) -> timedelta:
    """With jitter, so that a thousand failures do not become a thousand calls in the same second."""
    if rule.pause:
        return _pause(facts) * (1 + facts.jitter / 10)
    if rule.ambiguous:
        return timedelta(0)  # it has waited for the lookups
    return rule.waits[min(facts.tries, len(rule.waits)) - 1] * (0.75 + facts.jitter / 2)


def _pause(facts: Facts) -> timedelta:
    requested = DEFAULT_PAUSE if facts.requested_pause is None else facts.requested_pause
    return min(max(requested, SECOND), LONGEST_PAUSE)
