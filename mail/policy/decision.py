"""The policy: what follows from a failure, as a table of failure class by importance. Pure: no clock, no database.

mail.policy.apply_policy gathers the Facts, calls decide() and executes the Decision.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from mail.failure import FailureClass
from mail.importance import Importance
from mail.reasons import Reason, Scope
from mail.status import Status


class Breaker(StrEnum):
    """What a failure does to its provider's circuit breaker."""

    LEAVE = "leave"  # nothing: the failure is not the provider's
    COUNT = "count"  # several in a row open it
    OPEN = "open"  # it opens at once


class AlertWhen(StrEnum):
    """When operators are alerted."""

    NEVER = "never"
    AT_ONCE = "at_once"
    ON_GIVING_UP = "on_giving_up"  # when no retry follows, or the message had been reported as delivered


@dataclass(frozen=True, slots=True)
class Suppress:
    """Suppress the address. lasts: for how long; None until it is lifted by hand."""

    reason: Reason
    scope: Scope = Scope.ALL
    lasts: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Strikes:
    """Suppress the address after `limit` failures in a row, if the first is at least `span` old."""

    limit: int
    span: timedelta
    suppress: Suppress


@dataclass(frozen=True, slots=True)
class Rule:
    """A cell of the table: what one failure class means for mail of one importance.

    ends: the message's status when no retry follows; None leaves it. waits: before the second, third … call of the
    same provider. endless: repeat the last wait until the message expires. fall_back: if another provider is free, it
    is called at once. only_elsewhere: retry only with other providers, at once if one is free. pause: pause the
    provider. slow_domain_for: how long the recipient's domain gets no bulk mail once several of its addresses are
    blocked. ambiguous: the message may have been accepted. duplicate_after: how long it may be ambiguous before a
    possible duplicate is preferred to a possible loss; None for ever.
    """

    ends: Status | None = None
    waits: tuple[timedelta, ...] = ()
    endless: bool = False
    fall_back: bool = False
    only_elsewhere: bool = False
    suppress: Suppress | None = None
    strikes: Strikes | None = None
    breaker: Breaker = Breaker.LEAVE
    pause: bool = False
    slow_domain_for: timedelta | None = None
    ambiguous: bool = False
    duplicate_after: timedelta | None = None
    alert: AlertWhen = AlertWhen.NEVER


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


# --- the table -----------------------------------------------------------------------------------------------------

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

CRITICAL_WAITS = (30 * SECOND, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE)
NORMAL_WAITS = (MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR)
BULK_WAITS = (5 * MINUTE, 30 * MINUTE, 2 * HOUR)
OPEN_BREAKER_WAITS = (30 * SECOND, MINUTE, 5 * MINUTE)

BOUNCE = Suppress(Reason.BOUNCE)
THREE_SOFT_BOUNCES = Strikes(3, 14 * DAY, Suppress(Reason.SOFT_BOUNCES, lasts=90 * DAY))
FULL_FOR_A_DAY = Suppress(Reason.MAILBOX_FULL, lasts=DAY)
THREE_TIMES_FULL = Strikes(3, timedelta(0), Suppress(Reason.MAILBOX_FULL, lasts=30 * DAY))

Row = tuple[Rule, Rule, Rule]
"""For critical, normal and bulk mail."""


def _same_for_all(rule: Rule) -> Row:
    return rule, rule, rule


def _alert_if_critical(rule: Rule) -> Row:
    return replace(rule, alert=AlertWhen.AT_ONCE), rule, rule


def _elsewhere_if_critical(rule: Rule) -> Row:
    return replace(rule, only_elsewhere=True, alert=AlertWhen.AT_ONCE), rule, rule


def _retry_until_expiry(rule: Rule) -> Row:
    """Retry critical mail often and normal mail with longer waits, until they expire; bulk mail only a few times."""
    rule = replace(rule, ends=Status.FAILED, fall_back=True)
    return (
        replace(rule, waits=CRITICAL_WAITS, endless=True, alert=AlertWhen.ON_GIVING_UP),
        replace(rule, waits=NORMAL_WAITS, endless=True),
        replace(rule, waits=BULK_WAITS),
    )


_soft_bounce = Rule(ends=Status.BOUNCED, strikes=THREE_SOFT_BOUNCES)
_throttled = Rule(ends=Status.FAILED, pause=True, waits=(MINUTE,), endless=True, fall_back=True)
# The provider accepts nothing until an operator acts. No message is to blame, so all wait.
_provider_unusable = Rule(
    ends=Status.FAILED,
    breaker=Breaker.OPEN,
    waits=OPEN_BREAKER_WAITS,
    endless=True,
    fall_back=True,
    alert=AlertWhen.AT_ONCE,
)
_ambiguous_critical, _ambiguous_normal, _ambiguous_bulk = _retry_until_expiry(
    Rule(ambiguous=True, breaker=Breaker.COUNT)
)

TABLE: dict[FailureClass, Row] = {
    FailureClass.INVALID: _alert_if_critical(Rule(ends=Status.REJECTED)),
    FailureClass.HARD_BOUNCE: _alert_if_critical(Rule(ends=Status.BOUNCED, suppress=BOUNCE)),
    FailureClass.SOFT_BOUNCE: (
        replace(_soft_bounce, waits=(15 * MINUTE,), fall_back=True, alert=AlertWhen.ON_GIVING_UP),
        _soft_bounce,
        _soft_bounce,
    ),
    FailureClass.MAILBOX_FULL: _alert_if_critical(
        Rule(ends=Status.BOUNCED, suppress=FULL_FOR_A_DAY, strikes=THREE_TIMES_FULL)
    ),
    FailureClass.COMPLAINT: _same_for_all(Rule(ends=Status.COMPLAINED, suppress=Suppress(Reason.COMPLAINT))),
    # The message was delivered: its status stays.
    FailureClass.UNSUBSCRIBED: _same_for_all(Rule(suppress=Suppress(Reason.UNSUBSCRIBE, Scope.BULK))),
    FailureClass.BLOCKED: _elsewhere_if_critical(
        Rule(ends=Status.BOUNCED, slow_domain_for=15 * MINUTE, alert=AlertWhen.AT_ONCE)
    ),
    # Not sent: the address goes on our list too, and the message counts as rejected, not as bounced.
    FailureClass.LISTED_BOUNCE: _alert_if_critical(Rule(ends=Status.REJECTED, suppress=BOUNCE)),
    FailureClass.LISTED_COMPLAINT: _alert_if_critical(Rule(ends=Status.REJECTED, suppress=Suppress(Reason.COMPLAINT))),
    FailureClass.LISTED_UNSUBSCRIBE: _elsewhere_if_critical(
        Rule(ends=Status.REJECTED, suppress=Suppress(Reason.UNSUBSCRIBE, Scope.BULK))
    ),
    FailureClass.LISTED_UNKNOWN: _elsewhere_if_critical(Rule(ends=Status.REJECTED)),
    FailureClass.NOT_PERMITTED: _same_for_all(Rule(ends=Status.REJECTED, only_elsewhere=True, alert=AlertWhen.AT_ONCE)),
    FailureClass.REJECTED: _alert_if_critical(Rule(ends=Status.REJECTED)),
    FailureClass.THROTTLED: (
        replace(_throttled, alert=AlertWhen.ON_GIVING_UP),
        _throttled,
        replace(_throttled, fall_back=False),
    ),
    FailureClass.ACCOUNT: _same_for_all(_provider_unusable),
    FailureClass.CONFIGURATION: _same_for_all(_provider_unusable),
    FailureClass.UNREACHABLE: _retry_until_expiry(Rule(breaker=Breaker.COUNT)),
    FailureClass.AMBIGUOUS: (
        replace(_ambiguous_critical, duplicate_after=30 * SECOND),
        _ambiguous_normal,
        _ambiguous_bulk,
    ),
}

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

NO_FACTS = Facts()


def rule_for(kind: FailureClass, importance: Importance) -> Rule:
    return TABLE[kind][list(Importance).index(importance)]


def provider_excluding_classes(importance: Importance) -> frozenset[FailureClass]:
    """The failure classes after which a provider never gets a message of this importance again."""
    return frozenset(kind for kind in TABLE if rule_for(kind, importance).only_elsewhere)


# --- the decision --------------------------------------------------------------------------------------------------


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
