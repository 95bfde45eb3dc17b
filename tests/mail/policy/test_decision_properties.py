"""What holds for all decisions about failures, whatever the class, the importance and the situation."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from mail.failure import FailureClass
from mail.importance import Importance
from mail.policy.decision import Facts, decide
from tests.mail.policy.test_decision import CRITICAL, HOUR, SECOND, F

durations = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=40))
situations = st.builds(
    Facts,
    tries=st.integers(1, 100),
    expires_in=st.timedeltas(min_value=timedelta(days=-2), max_value=timedelta(days=2)),
    other_provider=st.booleans(),
    other_later=st.booleans(),
    delivered=st.booleans(),
    strikes=st.integers(0, 5),
    first_strike_ago=durations,
    requested_pause=st.none() | st.timedeltas(min_value=timedelta(days=-400), max_value=timedelta(days=400)),
    jitter=st.floats(0, 1, exclude_max=True),
    ambiguous_for=durations,
    settled_after=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(hours=2)),
    can_look_up=st.booleans(),
    not_found=st.booleans(),
)
kinds, importances = st.sampled_from(FailureClass), st.sampled_from(Importance)


REFUSED = [F.HARD_BOUNCE, F.COMPLAINT, F.MAILBOX_FULL, F.INVALID, F.LISTED_BOUNCE, F.LISTED_COMPLAINT]
ELSEWHERE = [F.BLOCKED, F.LISTED_UNSUBSCRIBE, F.LISTED_UNKNOWN, F.NOT_PERMITTED]


@given(st.sampled_from(REFUSED), importances, situations)
def test_a_final_refusal_is_never_followed_by_another_try(
    kind: FailureClass, importance: Importance, facts: Facts
) -> None:
    assert decide(kind, importance, facts).retry_after is None


@given(st.sampled_from(ELSEWHERE), importances, situations)
def test_after_a_provider_s_refusal_only_another_provider_sends_it(
    kind: FailureClass, importance: Importance, facts: Facts
) -> None:
    decision = decide(kind, importance, facts)
    assert decision.retry_after is None or decision.fall_back
    assert decision.retry_after is None or importance == CRITICAL or kind == F.NOT_PERMITTED


@given(kinds, importances, situations)
def test_an_address_is_suppressed_only_for_its_own_failures(
    kind: FailureClass, importance: Importance, facts: Facts
) -> None:
    of_the_address = {F.HARD_BOUNCE, F.SOFT_BOUNCE, F.MAILBOX_FULL, F.COMPLAINT, F.UNSUBSCRIBED}
    of_the_address |= {F.LISTED_BOUNCE, F.LISTED_COMPLAINT, F.LISTED_UNSUBSCRIBE}
    assert decide(kind, importance, facts).suppress is None or kind in of_the_address


@given(kinds, importances, situations)
def test_nothing_is_sent_after_it_has_expired(kind: FailureClass, importance: Importance, facts: Facts) -> None:
    decision = decide(kind, importance, facts)
    assert not decision.resends or decision.retry_after < facts.expires_in


@given(importances, situations)
def test_ambiguous_mail_is_sent_again_only_if_not_found_or_critical(importance: Importance, facts: Facts) -> None:
    decision = decide(F.AMBIGUOUS, importance, facts)
    certain = facts.not_found and facts.ambiguous_for >= facts.settled_after
    if decision.resends and not certain:
        assert importance == CRITICAL
        assert decision.possible_duplicate


@given(kinds, importances, situations)
def test_only_ambiguous_mail_is_a_possible_duplicate(kind: FailureClass, importance: Importance, facts: Facts) -> None:
    decision = decide(kind, importance, facts)
    assert not decision.possible_duplicate or (kind == F.AMBIGUOUS and importance == CRITICAL and decision.resends)


@given(kinds, importances, situations)
def test_a_message_is_either_worked_on_again_or_ends(kind: FailureClass, importance: Importance, facts: Facts) -> None:
    decision = decide(kind, importance, facts)
    if kind != F.UNSUBSCRIBED:
        assert (decision.retry_after is None) == (decision.status is not None)
    assert decision.retry_after is None or decision.retry_after >= timedelta(0)


@given(kinds, importances, situations)
def test_another_provider_is_asked_only_where_there_is_one(
    kind: FailureClass, importance: Importance, facts: Facts
) -> None:
    decision = decide(kind, importance, facts)
    assert facts.other_provider or not decision.fall_back or (facts.other_later and decision.retry_after)


@given(kinds, situations)
def test_critical_mail_never_fails_without_an_alert(kind: FailureClass, facts: Facts) -> None:
    """A complaint is no failure of ours, and what is unsubscribed has arrived."""
    decision = decide(kind, CRITICAL, facts)
    if decision.status and kind not in {F.COMPLAINT, F.UNSUBSCRIBED}:
        assert decision.alert == kind


@given(importances, situations)
def test_a_pause_is_between_a_second_and_an_hour(importance: Importance, facts: Facts) -> None:
    assert SECOND <= decide(F.THROTTLED, importance, facts).pause <= HOUR
