"""What is done about a failure: a table of classes by importance, and the arithmetic of time around it. Pure."""

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from mail.failure import FailureClass
from mail.importance import Importance
from mail.reasons import Reason, Scope
from mail.status import Status


class Breaker(StrEnum):
    """What a failure does to the circuit breaker of its provider."""

    LEAVE = "leave"  # it says nothing about the provider
    COUNT = "count"  # several in a row open it
    OPEN = "open"  # it opens at once


class Alarm(StrEnum):
    """When operators are told."""

    NEVER = "never"
    AT_ONCE = "at_once"
    AT_THE_END = "at_the_end"  # when the message is given up, or fails after it was delivered


@dataclass(frozen=True, slots=True)
class Suppress:
    """Not to write to the address. lasts: how long; None is until it is lifted by hand."""

    reason: Reason
    scope: Scope = Scope.ALL
    lasts: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Strikes:
    """So many failures in a row, the first of them longer ago than `over`, suppress the address."""

    limit: int
    over: timedelta
    out: Suppress


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: what one class of failure means for mail of one importance.

    ends: what the message is when there is no further try; None leaves it as it is. waits: before the second, third …
    try by the same provider. endless: the last of them is repeated until the message expires. fall_back: another
    provider, where there is one, tries at once. elsewhere: another provider that has not had the message tries at once,
    and nobody else does. slow: how long its recipient's domain gets no bulk mail, once several addresses are blocked.
    unclear: it may have been sent. hurry: how long that is borne before it is rather sent twice than not at all.
    """

    ends: Status | None = None
    waits: tuple[timedelta, ...] = ()
    endless: bool = False
    fall_back: bool = False
    elsewhere: bool = False
    suppress: Suppress | None = None
    strikes: Strikes | None = None
    breaker: Breaker = Breaker.LEAVE
    pause: bool = False
    slow: timedelta | None = None
    unclear: bool = False
    hurry: timedelta | None = None
    alarm: Alarm = Alarm.NEVER


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the failure itself.

    tries: calls of this provider for this message that failed in a way worth a repetition, or that bounced softly; this
    one counts. other_provider: another one could take it now, which has not had it. other_later: there is such a one,
    whether it could take it now or not. strikes, struck_for: failures of this kind that the
    address had in a row before this one, and how long ago the first was. asked_pause: what the provider asked for.
    delivered: it was told before that the message had arrived. arrived: by another attempt than the one that failed.
    jitter: a number in [0, 1).

    Of an unclear attempt: unclear_for: since it began. settled_after: when the provider's events are believed. can_ask:
    whether it has events that can be asked for. not_found: whether they were, and do not know it.
    """

    tries: int = 1
    expires_in: timedelta = timedelta(hours=24)
    other_provider: bool = False
    other_later: bool = False
    strikes: int = 0
    struck_for: timedelta = timedelta(0)
    asked_pause: timedelta | None = None
    delivered: bool = False
    arrived: bool = False
    jitter: float = 0.5
    unclear_for: timedelta = timedelta(0)
    settled_after: timedelta = timedelta(minutes=30)
    can_ask: bool = True
    not_found: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, all of it: mail.policy.apply_policy carries it out.

    retry_after: how long until the message is worked on again; None is never. reconcile: then only to ask what became
    of the attempt. fall_back: the retry is another provider's. possible_duplicate: the retry may be a second copy.
    status: what the message becomes, None to leave it. alert: the kind of alert, empty for none.
    """

    retry_after: timedelta | None = None
    fall_back: bool = False
    reconcile: bool = False
    possible_duplicate: bool = False
    suppress: Suppress | None = None
    strike: bool = False
    breaker: Breaker = Breaker.LEAVE
    pause: timedelta | None = None
    slow: timedelta | None = None
    status: Status | None = None
    alert: str = ""

    @property
    def resends(self) -> bool:
        """Whether the message will be given to a provider again."""
        return self.retry_after is not None and not self.reconcile


SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

URGENT = (30 * SECOND, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE)
PATIENT = (MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR)
FEW = (5 * MINUTE, 30 * MINUTE, 2 * HOUR)
WITH_THE_BREAKER = (30 * SECOND, MINUTE, 5 * MINUTE)

FOR_GOOD = Suppress(Reason.BOUNCE)
THREE_SOFT = Strikes(3, 14 * DAY, Suppress(Reason.SOFT_BOUNCES, lasts=90 * DAY))
FULL_FOR_A_DAY = Suppress(Reason.MAILBOX_FULL, lasts=DAY)
THREE_FULL = Strikes(3, timedelta(0), Suppress(Reason.MAILBOX_FULL, lasts=30 * DAY))

Row = tuple[Rule, Rule, Rule]
"""For critical, normal and bulk mail."""


def _alike(rule: Rule) -> Row:
    return rule, rule, rule


def _alarming_if_critical(rule: Rule) -> Row:
    return replace(rule, alarm=Alarm.AT_ONCE), rule, rule


def _elsewhere_if_critical(rule: Rule) -> Row:
    """Critical mail gets an alert and another provider, where there is one that has not had it."""
    return replace(rule, elsewhere=True, alarm=Alarm.AT_ONCE), rule, rule


def _until_it_expires(rule: Rule) -> Row:
    """Critical mail soon and often, normal mail patiently, bulk mail a few times."""
    rule = replace(rule, ends=Status.FAILED, fall_back=True)
    return (
        replace(rule, waits=URGENT, endless=True, alarm=Alarm.AT_THE_END),
        replace(rule, waits=PATIENT, endless=True),
        replace(rule, waits=FEW),
    )


def _shut_out(rule: Rule) -> Row:
    """The provider takes nothing at all until somebody has mended that: no message is to blame, and all may wait."""
    return _alike(
        replace(rule, ends=Status.FAILED, breaker=Breaker.OPEN, waits=WITH_THE_BREAKER, endless=True, fall_back=True)
    )


_soft = Rule(ends=Status.BOUNCED, strikes=THREE_SOFT)
_slow_down = Rule(ends=Status.FAILED, pause=True, waits=(MINUTE,), endless=True, fall_back=True)
_unclear_critical, _unclear_normal, _unclear_bulk = _until_it_expires(Rule(unclear=True, breaker=Breaker.COUNT))

TABLE: dict[FailureClass, Row] = {
    FailureClass.INVALID: _alarming_if_critical(Rule(ends=Status.REJECTED)),
    FailureClass.HARD_BOUNCE: _alarming_if_critical(Rule(ends=Status.BOUNCED, suppress=FOR_GOOD)),
    FailureClass.SOFT_BOUNCE: (
        replace(_soft, waits=(15 * MINUTE,), fall_back=True, alarm=Alarm.AT_THE_END),
        _soft,
        _soft,
    ),
    FailureClass.MAILBOX_FULL: _alarming_if_critical(
        Rule(ends=Status.BOUNCED, suppress=FULL_FOR_A_DAY, strikes=THREE_FULL)
    ),
    FailureClass.COMPLAINT: _alike(Rule(ends=Status.COMPLAINED, suppress=Suppress(Reason.COMPLAINT))),
    # The message itself has arrived.
    FailureClass.UNSUBSCRIBED: _alike(Rule(suppress=Suppress(Reason.UNSUBSCRIBE, Scope.BULK))),
    FailureClass.BLOCKED: _elsewhere_if_critical(Rule(ends=Status.BOUNCED, slow=15 * MINUTE, alarm=Alarm.AT_ONCE)),
    # Never sent: what the provider remembers of the address counts from now on, and the message was only refused.
    FailureClass.LISTED_BOUNCE: _alarming_if_critical(Rule(ends=Status.REJECTED, suppress=FOR_GOOD)),
    FailureClass.LISTED_COMPLAINT: _alarming_if_critical(
        Rule(ends=Status.REJECTED, suppress=Suppress(Reason.COMPLAINT))
    ),
    FailureClass.LISTED_UNSUBSCRIBE: _elsewhere_if_critical(
        Rule(ends=Status.REJECTED, suppress=Suppress(Reason.UNSUBSCRIBE, Scope.BULK))
    ),
    FailureClass.LISTED_UNKNOWN: _elsewhere_if_critical(Rule(ends=Status.REJECTED)),
    FailureClass.NOT_PERMITTED: _alike(Rule(ends=Status.REJECTED, elsewhere=True, alarm=Alarm.AT_ONCE)),
    FailureClass.REJECTED: _alarming_if_critical(Rule(ends=Status.REJECTED)),
    FailureClass.THROTTLED: (
        replace(_slow_down, alarm=Alarm.AT_THE_END),
        _slow_down,
        replace(_slow_down, fall_back=False),
    ),
    FailureClass.ACCOUNT: _shut_out(Rule(alarm=Alarm.AT_ONCE)),
    FailureClass.CONFIGURATION: _shut_out(Rule(alarm=Alarm.AT_ONCE)),
    FailureClass.UNREACHABLE: _until_it_expires(Rule(breaker=Breaker.COUNT)),
    FailureClass.AMBIGUOUS: (replace(_unclear_critical, hurry=30 * SECOND), _unclear_normal, _unclear_bulk),
}

USUAL_PAUSE, LONGEST_PAUSE = MINUTE, HOUR
UNTIL_ANOTHER_IS_FREE = MINUTE
"""How soon mail that this provider cannot send is given to another one whose breaker is open now, or that is paused."""
LOOK_AGAIN = 15 * SECOND
"""The soonest that events are read again (Mailgun, "Events": they are indexed late)."""
LONGEST_LOOK = 10 * MINUTE
UNCLEAR_AT_MOST = DAY
"""After this it is not asked for any more: providers forget."""
LAST_CHANCE = 5 * SECOND
"""Critical mail whose time is running out is tried ever sooner, down to this."""

NOTHING_ELSE = Facts()


def rule_of(kind: FailureClass, importance: Importance) -> Rule:
    return TABLE[kind][list(Importance).index(importance)]


def only_elsewhere(importance: Importance) -> frozenset[FailureClass]:
    """The failures after which a provider is not given a message of this importance again."""
    return frozenset(kind for kind in TABLE if rule_of(kind, importance).elsewhere)


def decide(kind: FailureClass, importance: Importance, facts: Facts = NOTHING_ELSE) -> Decision:
    """What is done about this failure of a message of this importance."""
    rule = rule_of(kind, importance)
    suppress = _suppression(rule, facts)
    if facts.arrived:
        return Decision(suppress=suppress, slow=rule.slow)
    if suppress and (suppress.scope == Scope.ALL or importance == Importance.BULK):
        further = Decision(status=rule.ends)
    else:
        further = _ask_first(rule, importance, facts) if rule.unclear else _again(rule, importance, facts)
    late = further.retry_after is None or facts.delivered
    return replace(
        further,
        suppress=suppress,
        strike=rule.strikes is not None,
        breaker=rule.breaker,
        pause=_pause(facts) if rule.pause else None,
        slow=rule.slow,
        alert=str(kind) if rule.alarm == Alarm.AT_ONCE or (late and rule.alarm == Alarm.AT_THE_END) else "",
    )


def _ask_first(rule: Rule, importance: Importance, facts: Facts) -> Decision:
    """Nobody knows whether the provider has it: ask until that is certain, unless a second copy is the lesser evil."""
    settled = facts.unclear_for >= facts.settled_after
    if settled and facts.not_found:
        return _again(rule, importance, facts)
    hurry = None if rule.hurry is None else min(rule.hurry, facts.settled_after)
    if hurry is not None and facts.unclear_for >= hurry:
        further = _again(rule, importance, facts)
        if further.resends:
            return replace(further, possible_duplicate=True)
    if (settled and not facts.can_ask) or facts.unclear_for >= UNCLEAR_AT_MOST:
        return Decision(status=rule.ends)
    return Decision(reconcile=True, retry_after=_next_look(facts, facts.settled_after if hurry is None else hurry))


def _next_look(facts: Facts, until: timedelta) -> timedelta:
    """Ever later, but not past the moment at which the answer decides."""
    wait = min(max(LOOK_AGAIN, facts.unclear_for), LONGEST_LOOK)
    left = until - facts.unclear_for
    return min(wait, left) if left > timedelta(0) else wait


def _again(rule: Rule, importance: Importance, facts: Facts) -> Decision:
    if rule.elsewhere:
        wait = timedelta(0) if facts.other_provider else UNTIL_ANOTHER_IS_FREE
        may = (facts.other_provider or facts.other_later) and wait < facts.expires_in
        return Decision(retry_after=wait, fall_back=True) if may else Decision(status=rule.ends)
    if not rule.endless and facts.tries > len(rule.waits):
        return Decision(status=rule.ends)
    if facts.expires_in <= timedelta(0):
        return _too_late(rule)
    if rule.fall_back and facts.other_provider:
        return Decision(retry_after=timedelta(0), fall_back=True)
    wait = _wait(rule, facts)
    if importance == Importance.CRITICAL and not rule.pause:
        wait = min(wait, max(facts.expires_in / 2, LAST_CHANCE))
    return Decision(retry_after=wait) if wait < facts.expires_in else _too_late(rule)


def _too_late(rule: Rule) -> Decision:
    """What a provider never took has expired; what bounced has bounced."""
    return Decision(status=Status.EXPIRED if rule.ends == Status.FAILED else rule.ends)


def _wait(rule: Rule, facts: Facts) -> timedelta:
    """Around what the table says, so that a thousand failures are not a thousand calls in the same second."""
    if rule.pause:
        return _pause(facts) * (1 + facts.jitter / 10)
    if rule.unclear:
        return timedelta(0)  # it has waited until it was certain
    return rule.waits[min(facts.tries, len(rule.waits)) - 1] * (0.75 + facts.jitter / 2)


def _pause(facts: Facts) -> timedelta:
    asked = USUAL_PAUSE if facts.asked_pause is None else facts.asked_pause
    return min(max(asked, SECOND), LONGEST_PAUSE)


def _suppression(rule: Rule, facts: Facts) -> Suppress | None:
    strikes = rule.strikes
    out = strikes and facts.strikes + 1 >= strikes.limit and facts.struck_for >= strikes.over
    return strikes.out if strikes and out else rule.suppress
