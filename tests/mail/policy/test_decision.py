"""What is done about a failure: every row of the table, for each importance."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mail.failure import FailureClass
from mail.importance import Importance
from mail.policy.decision import Decision, Facts, decide
from mail.policy.rules import TABLE, Breaker, Suppress
from mail.reasons import Reason, Scope
from mail.status import Status

F, CRITICAL, NORMAL, BULK = FailureClass, Importance.CRITICAL, Importance.NORMAL, Importance.BULK
ALL = (CRITICAL, NORMAL, BULK)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AT_ONCE = timedelta(0)

LAST_OF_THREE = Facts(strikes=2, first_strike_ago=15 * DAY)
UNCERTAIN = Facts(ambiguous_for=20 * SECOND)
OVERDUE = Facts(ambiguous_for=40 * SECOND)
SETTLED = Facts(ambiguous_for=31 * MINUTE, not_found=True)
UNASKABLE = Facts(ambiguous_for=31 * MINUTE, can_look_up=False)

ROWS = [
    # The provider calls the message invalid.
    (F.INVALID, [CRITICAL], Facts(), Decision(status=Status.REJECTED, alert="invalid")),
    (F.INVALID, [NORMAL, BULK], Facts(), Decision(status=Status.REJECTED)),
    # Hard bounce.
    (
        F.HARD_BOUNCE,
        [CRITICAL],
        Facts(other_provider=True),
        Decision(status=Status.BOUNCED, suppress=Suppress(Reason.BOUNCE), alert="hard_bounce"),
    ),
    (
        F.HARD_BOUNCE,
        [NORMAL, BULK],
        Facts(other_provider=True),
        Decision(status=Status.BOUNCED, suppress=Suppress(Reason.BOUNCE)),
    ),
    # Soft bounce, exhausted.
    (F.SOFT_BOUNCE, [CRITICAL], Facts(), Decision(retry_after=15 * MINUTE, strike=True)),
    (
        F.SOFT_BOUNCE,
        [CRITICAL],
        Facts(other_provider=True),
        Decision(retry_after=AT_ONCE, fall_back=True, strike=True),
    ),
    (
        F.SOFT_BOUNCE,
        [CRITICAL],
        Facts(tries=2, other_provider=True),
        Decision(status=Status.BOUNCED, strike=True, alert="soft_bounce"),
    ),
    (
        F.SOFT_BOUNCE,
        [CRITICAL],
        Facts(expires_in=-SECOND),
        Decision(status=Status.BOUNCED, strike=True, alert="soft_bounce"),
    ),
    (F.SOFT_BOUNCE, [NORMAL, BULK], Facts(other_provider=True), Decision(status=Status.BOUNCED, strike=True)),
    (
        F.SOFT_BOUNCE,
        [NORMAL, BULK],
        Facts(strikes=5, first_strike_ago=DAY),
        Decision(status=Status.BOUNCED, strike=True),
    ),
    (
        F.SOFT_BOUNCE,
        [NORMAL, BULK],
        LAST_OF_THREE,
        Decision(status=Status.BOUNCED, strike=True, suppress=Suppress(Reason.SOFT_BOUNCES, lasts=90 * DAY)),
    ),
    (
        F.SOFT_BOUNCE,
        [CRITICAL],
        LAST_OF_THREE,
        Decision(
            status=Status.BOUNCED,
            strike=True,
            suppress=Suppress(Reason.SOFT_BOUNCES, lasts=90 * DAY),
            alert="soft_bounce",
        ),
    ),
    # Mailbox full.
    (
        F.MAILBOX_FULL,
        [CRITICAL],
        Facts(),
        Decision(
            status=Status.BOUNCED, strike=True, suppress=Suppress(Reason.MAILBOX_FULL, lasts=DAY), alert="mailbox_full"
        ),
    ),
    (
        F.MAILBOX_FULL,
        [NORMAL, BULK],
        Facts(strikes=1),
        Decision(status=Status.BOUNCED, strike=True, suppress=Suppress(Reason.MAILBOX_FULL, lasts=DAY)),
    ),
    (
        F.MAILBOX_FULL,
        [NORMAL, BULK],
        Facts(strikes=2),
        Decision(status=Status.BOUNCED, strike=True, suppress=Suppress(Reason.MAILBOX_FULL, lasts=30 * DAY)),
    ),
    # Complaint, unsubscribe.
    (F.COMPLAINT, ALL, Facts(), Decision(status=Status.COMPLAINED, suppress=Suppress(Reason.COMPLAINT))),
    (F.UNSUBSCRIBED, ALL, Facts(), Decision(suppress=Suppress(Reason.UNSUBSCRIBE, Scope.BULK))),
    # Policy or spam block: critical mail goes to one more provider, if there is one that has not had it.
    (F.BLOCKED, ALL, Facts(), Decision(status=Status.BOUNCED, slow_domain_for=15 * MINUTE, alert="blocked")),
    (
        F.BLOCKED,
        [CRITICAL],
        Facts(other_provider=True, tries=3),
        Decision(retry_after=AT_ONCE, fall_back=True, slow_domain_for=15 * MINUTE, alert="blocked"),
    ),
    (
        F.BLOCKED,
        [NORMAL, BULK],
        Facts(other_provider=True),
        Decision(status=Status.BOUNCED, slow_domain_for=15 * MINUTE, alert="blocked"),
    ),
    # Never sent, because the provider has the address on a list of its own.
    *(
        (kind, [importance], facts, Decision(status=Status.REJECTED, suppress=suppress, alert=alert))
        for kind, suppress in (
            (F.LISTED_BOUNCE, Suppress(Reason.BOUNCE)),
            (F.LISTED_COMPLAINT, Suppress(Reason.COMPLAINT)),
        )
        for facts in (Facts(), Facts(other_provider=True))
        for importance, alert in ((CRITICAL, str(kind)), (NORMAL, ""), (BULK, ""))
    ),
    *(
        row
        for kind, suppress in (
            (F.LISTED_UNSUBSCRIBE, Suppress(Reason.UNSUBSCRIBE, Scope.BULK)),
            (F.LISTED_UNKNOWN, None),
        )
        for row in (
            (kind, [CRITICAL], Facts(), Decision(status=Status.REJECTED, suppress=suppress, alert=str(kind))),
            (
                kind,
                [CRITICAL],
                Facts(other_provider=True, tries=3),
                Decision(retry_after=AT_ONCE, fall_back=True, suppress=suppress, alert=str(kind)),
            ),
            (
                kind,
                [CRITICAL],
                Facts(other_later=True),
                Decision(retry_after=MINUTE, fall_back=True, suppress=suppress, alert=str(kind)),
            ),
            (
                kind,
                [CRITICAL],
                Facts(other_later=True, expires_in=MINUTE),
                Decision(status=Status.REJECTED, suppress=suppress, alert=str(kind)),
            ),
            (kind, [NORMAL, BULK], Facts(other_provider=True), Decision(status=Status.REJECTED, suppress=suppress)),
        )
    ),
    # This provider may not send it.
    (F.NOT_PERMITTED, ALL, Facts(), Decision(status=Status.REJECTED, alert="not_permitted")),
    (
        F.NOT_PERMITTED,
        ALL,
        Facts(other_provider=True),
        Decision(retry_after=AT_ONCE, fall_back=True, alert="not_permitted"),
    ),
    # A failure after the delivery: critical mail is sent again with an alert, unless another attempt has delivered it.
    (
        F.SOFT_BOUNCE,
        [CRITICAL],
        Facts(delivered=True),
        Decision(retry_after=15 * MINUTE, strike=True, alert="soft_bounce"),
    ),
    (F.SOFT_BOUNCE, [NORMAL, BULK], Facts(delivered=True), Decision(status=Status.BOUNCED, strike=True)),
    (F.SOFT_BOUNCE, ALL, Facts(delivered=True, delivered_by_another=True, other_provider=True), Decision()),
    (
        F.HARD_BOUNCE,
        ALL,
        Facts(delivered=True, delivered_by_another=True),
        Decision(suppress=Suppress(Reason.BOUNCE)),
    ),
    (F.REJECTED, [CRITICAL], Facts(), Decision(status=Status.REJECTED, alert="rejected")),
    (F.REJECTED, [NORMAL, BULK], Facts(), Decision(status=Status.REJECTED)),
    # Quota, rate.
    (
        F.THROTTLED,
        ALL,
        Facts(requested_pause=20 * SECOND, jitter=0),
        Decision(retry_after=20 * SECOND, pause=20 * SECOND),
    ),
    (F.THROTTLED, ALL, Facts(jitter=0), Decision(retry_after=MINUTE, pause=MINUTE)),
    (F.THROTTLED, ALL, Facts(requested_pause=9 * DAY, jitter=0), Decision(retry_after=HOUR, pause=HOUR)),
    (F.THROTTLED, ALL, Facts(tries=1000, jitter=0), Decision(retry_after=MINUTE, pause=MINUTE)),
    (
        F.THROTTLED,
        [CRITICAL, NORMAL],
        Facts(other_provider=True),
        Decision(retry_after=AT_ONCE, fall_back=True, pause=MINUTE),
    ),
    (F.THROTTLED, [BULK], Facts(other_provider=True, jitter=0), Decision(retry_after=MINUTE, pause=MINUTE)),
    (F.THROTTLED, [NORMAL, BULK], Facts(expires_in=SECOND), Decision(status=Status.EXPIRED, pause=MINUTE)),
    # Account fault, and answers that are not of the provider's protocol.
    *(
        (kind, ALL, facts, replace(decision, breaker=breaker, alert=str(kind)))
        for kind, breaker in (
            (F.ACCOUNT, Breaker.OPEN),
            (F.CONFIGURATION, Breaker.OPEN),
            (F.SENDER, Breaker.SENDER),
        )
        for facts, decision in (
            (Facts(other_provider=True), Decision(retry_after=AT_ONCE, fall_back=True)),
            (Facts(), Decision(retry_after=30 * SECOND)),
            (Facts(tries=50), Decision(retry_after=5 * MINUTE)),
            (Facts(expires_in=AT_ONCE), Decision(status=Status.EXPIRED)),
        )
    ),
    # Transient API: critical 30 s, 2, 5, 15 min; normal up to its expiry; bulk a few times.
    *(
        (F.UNREACHABLE, [importance], Facts(tries=tries), Decision(retry_after=wait, breaker=Breaker.COUNT))
        for importance, waits in (
            (CRITICAL, [30 * SECOND, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, 15 * MINUTE]),
            (NORMAL, [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 2 * HOUR]),
            (BULK, [5 * MINUTE, 30 * MINUTE, 2 * HOUR]),
        )
        for tries, wait in enumerate(waits, start=1)
    ),
    (F.UNREACHABLE, [BULK], Facts(tries=4), Decision(status=Status.FAILED, breaker=Breaker.COUNT)),
    (
        F.UNREACHABLE,
        ALL,
        Facts(other_provider=True),
        Decision(retry_after=AT_ONCE, fall_back=True, breaker=Breaker.COUNT),
    ),
    (
        F.UNREACHABLE,
        [CRITICAL],
        Facts(expires_in=AT_ONCE),
        Decision(status=Status.EXPIRED, breaker=Breaker.COUNT, alert="unreachable"),
    ),
    (
        F.UNREACHABLE,
        [CRITICAL],
        Facts(tries=4, expires_in=MINUTE),
        Decision(retry_after=30 * SECOND, breaker=Breaker.COUNT),
    ),
    (
        F.UNREACHABLE,
        [CRITICAL],
        Facts(tries=4, expires_in=8 * SECOND),
        Decision(retry_after=5 * SECOND, breaker=Breaker.COUNT),
    ),
    (
        F.UNREACHABLE,
        [CRITICAL],
        Facts(expires_in=5 * SECOND),
        Decision(status=Status.EXPIRED, breaker=Breaker.COUNT, alert="unreachable"),
    ),
    (
        F.UNREACHABLE,
        [NORMAL, BULK],
        Facts(tries=3, expires_in=MINUTE),
        Decision(status=Status.EXPIRED, breaker=Breaker.COUNT),
    ),
    # Ambiguous: reconcile first, then as transient; a duplicate only where that is better than a loss.
    (F.AMBIGUOUS, ALL, Facts(), Decision(reconcile=True, retry_after=15 * SECOND, breaker=Breaker.COUNT)),
    (F.AMBIGUOUS, [CRITICAL], UNCERTAIN, Decision(reconcile=True, retry_after=10 * SECOND, breaker=Breaker.COUNT)),
    (
        F.AMBIGUOUS,
        [CRITICAL],
        OVERDUE,
        Decision(retry_after=AT_ONCE, possible_duplicate=True, breaker=Breaker.COUNT),
    ),
    (
        F.AMBIGUOUS,
        [CRITICAL],
        replace(OVERDUE, other_provider=True),
        Decision(retry_after=AT_ONCE, fall_back=True, possible_duplicate=True, breaker=Breaker.COUNT),
    ),
    (F.AMBIGUOUS, [NORMAL, BULK], OVERDUE, Decision(reconcile=True, retry_after=40 * SECOND, breaker=Breaker.COUNT)),
    (F.AMBIGUOUS, ALL, SETTLED, Decision(retry_after=AT_ONCE, breaker=Breaker.COUNT)),
    (
        F.AMBIGUOUS,
        ALL,
        replace(SETTLED, other_provider=True),
        Decision(retry_after=AT_ONCE, fall_back=True, breaker=Breaker.COUNT),
    ),
    (F.AMBIGUOUS, [BULK], replace(SETTLED, tries=4), Decision(status=Status.FAILED, breaker=Breaker.COUNT)),
    (F.AMBIGUOUS, [NORMAL, BULK], UNASKABLE, Decision(status=Status.FAILED, breaker=Breaker.COUNT)),
    (
        F.AMBIGUOUS,
        [CRITICAL],
        UNASKABLE,
        Decision(retry_after=AT_ONCE, possible_duplicate=True, breaker=Breaker.COUNT),
    ),
    (
        F.AMBIGUOUS,
        ALL,
        Facts(ambiguous_for=DAY, expires_in=-HOUR),
        Decision(status=Status.FAILED, breaker=Breaker.COUNT),
    ),
]

CASES = [
    pytest.param(kind, importance, facts, decision, id=f"{kind} {importance} {row}")
    for row, (kind, importances, facts, decision) in enumerate(ROWS)
    for importance in importances
]


@pytest.mark.parametrize(("kind", "importance", "facts", "decision"), CASES)
def test_a_row_of_the_table(kind: FailureClass, importance: Importance, facts: Facts, decision: Decision) -> None:
    decided = decide(kind, importance, facts)
    if decided.status and importance == CRITICAL and kind == F.AMBIGUOUS:
        decision = replace(decision, alert="ambiguous")
    assert decided == decision


def test_every_class_has_a_rule_for_every_importance_and_a_test() -> None:
    assert set(TABLE) == set(FailureClass)
    tested = {(kind, importance) for kind, importances, _, _ in ROWS for importance in importances}
    assert tested == {(kind, importance) for kind in FailureClass for importance in Importance}
