"""What each class of failure leads to, by the importance of the mail: one table. Pure.

mail.policy.decision applies a rule to the facts of one failure.
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
    SENDER = (
        "sender"  # only this sender's mail waits; it opens when the senders of several domains are refused in a row
    )


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
    FailureClass.SENDER: _same_for_all(replace(_provider_unusable, breaker=Breaker.SENDER)),
    FailureClass.CONFIGURATION: _same_for_all(_provider_unusable),
    FailureClass.UNREACHABLE: _retry_until_expiry(Rule(breaker=Breaker.COUNT)),
    FailureClass.AMBIGUOUS: (
        replace(_ambiguous_critical, duplicate_after=30 * SECOND),
        _ambiguous_normal,
        _ambiguous_bulk,
    ),
}


def rule_for(kind: FailureClass, importance: Importance) -> Rule:
    return TABLE[kind][list(Importance).index(importance)]


def provider_excluding_classes(importance: Importance) -> frozenset[FailureClass]:
    """The failure classes after which a provider never gets a message of this importance again."""
    return frozenset(kind for kind in TABLE if rule_for(kind, importance).only_elsewhere)
