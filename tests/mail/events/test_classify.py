"""Classifying events: all of Mailgun's, in the forms that it documents, and those of other providers."""

import time
from typing import Any

import pytest
from anymail.signals import AnymailTrackingEvent, RejectReason
from anymail.signals import EventType as AnymailEvent
from hypothesis import given
from hypothesis import strategies as st

from mail.events import classify, classify_anymail, classify_mailgun, provider_event
from mail.events.classify import EventType, one_line
from mail.failure import Failure, FailureClass
from mail.smtp.replies import ServerReply
from tests.support import fixed_work

HARD, SOFT, FULL = FailureClass.HARD_BOUNCE, FailureClass.SOFT_BOUNCE, FailureClass.MAILBOX_FULL
BLOCKED, INVALID, COMPLAINT = FailureClass.BLOCKED, FailureClass.INVALID, FailureClass.COMPLAINT
UNSUBSCRIBED, REJECTED = FailureClass.UNSUBSCRIBED, FailureClass.REJECTED
LISTED_BOUNCE, LISTED_COMPLAINT = FailureClass.LISTED_BOUNCE, FailureClass.LISTED_COMPLAINT
LISTED_UNSUBSCRIBE = FailureClass.LISTED_UNSUBSCRIBE


def failed(severity: str | None, reason: str | None, **status: Any) -> dict[str, Any]:
    """A failed event. status: the fields of its delivery-status, with _ in the place of -."""
    data: dict[str, Any] = {"event": "failed", "severity": severity, "reason": reason}
    data = {name: value for name, value in data.items() if value is not None}
    return data | {"delivery-status": {name.replace("_", "-"): value for name, value in status.items()}}


CASES: list[tuple[dict[str, Any], str, FailureClass | None]] = [
    ({"event": "accepted", "method": "HTTP", "originating-ip": "192.0.2.1"}, EventType.ACCEPTED, None),
    ({"event": "delivered", "delivery-status": {"code": 250, "message": "OK", "tls": True}}, EventType.DELIVERED, None),
    ({"event": "delivered"}, EventType.DELIVERED, None),
    (
        {"event": "opened", "client-info": {"client-name": "Chrome", "bot": ""}, "ip": "192.0.2.1"},
        EventType.OPENED,
        None,
    ),
    ({"event": "opened", "client-info": None}, EventType.OPENED, None),
    ({"event": "clicked", "url": "https://example.org/", "geolocation": {"country": "US"}}, EventType.CLICKED, None),
    ({"event": "unsubscribed", "tags": ["*"]}, EventType.UNSUBSCRIBED, UNSUBSCRIBED),
    ({"event": "complained", "flags": {"is-test-mode": False}}, EventType.COMPLAINED, COMPLAINT),
    (
        {"event": "rejected", "reject": {"reason": "Sandbox subdomains are for test purposes"}},
        EventType.REJECTED,
        REJECTED,
    ),
    ({"event": "rejected"}, EventType.REJECTED, REJECTED),
    ({"event": "stored"}, "stored", None),
    ({"event": "email_validation"}, "email_validation", None),
    # temporary: the provider tries again
    (
        failed("temporary", "generic", code=421, message="4.3.2 Service busy", retry_seconds=600),
        EventType.DEFERRED,
        None,
    ),
    (failed("temporary", "greylisted", code=450, enhanced_code="4.7.1"), EventType.DEFERRED, None),
    (failed("temporary", "generic", code=452, message="4.2.2 mailbox full"), EventType.DEFERRED, None),
    (failed("temporary", "generic", code=498, description="No MX for nomx.example.com"), EventType.DEFERRED, None),
    (failed("temporary", "generic", code=499, description="Unable to connect to MX servers"), EventType.DEFERRED, None),
    (failed("temporary", "espblock", code=421, enhanced_code="4.7.0"), EventType.DEFERRED, None),
    (failed("temporary", "generic", code=550, message="5.1.1 but they will try again"), EventType.DEFERRED, None),
    # permanent, by what the server said
    (
        failed("permanent", "bounce", code=550, message="5.1.1 The email account does not exist"),
        EventType.BOUNCED,
        HARD,
    ),
    (failed("permanent", "bounce", code=550, enhanced_code="5.1.1", bounce_type="hard"), EventType.BOUNCED, HARD),
    (failed("permanent", "bounce", code=550), EventType.BOUNCED, HARD),
    (failed("permanent", "bounce"), EventType.BOUNCED, HARD),
    (failed("permanent", "generic", code=550, message="5.1.2 no such domain"), EventType.BOUNCED, HARD),
    (failed("permanent", "generic", code=554, message="5.2.1 mailbox disabled"), EventType.BOUNCED, HARD),
    (failed("permanent", "hardfail", code=550, message="no such user"), EventType.BOUNCED, HARD),
    (failed("permanent", "bounce", code=552, enhanced_code="5.2.2"), EventType.BOUNCED, FULL),
    (failed("permanent", "bounce", code=550, message="550-5.2.2 over quota"), EventType.BOUNCED, FULL),
    (failed("permanent", "bounce", code=552, message="quota exceeded"), EventType.BOUNCED, FULL),
    (failed("permanent", "generic", code=452, enhanced_code="4.2.2"), EventType.BOUNCED, FULL),
    (failed("permanent", "espblock", code=550, message="likely unsolicited mail"), EventType.BOUNCED, BLOCKED),
    (failed("permanent", "blacklisted", code=550), EventType.BOUNCED, BLOCKED),
    (failed("permanent", "bounce", code=550, enhanced_code="5.7.1"), EventType.BOUNCED, BLOCKED),
    (failed("permanent", "generic", code=554, message="5.7.26 unauthenticated"), EventType.BOUNCED, BLOCKED),
    (failed("permanent", "bounce", code=553, message="5.1.8 sender domain unknown"), EventType.BOUNCED, BLOCKED),
    (failed("permanent", "generic", code=554, message="Transaction failed"), EventType.BOUNCED, BLOCKED),
    (failed("permanent", "bounce", code=552, enhanced_code="5.3.4"), EventType.BOUNCED, INVALID),
    # permanent, because the message is too old
    (failed("permanent", "old", code=602, description="Not delivering to too old message"), EventType.BOUNCED, SOFT),
    (failed("permanent", "generic", code=602), EventType.BOUNCED, SOFT),
    (failed("temporary", "old", code=498, description="No MX for nomx.example.com"), EventType.BOUNCED, SOFT),
    (failed("permanent", "old", code=602, last_code=452, last_message="4.2.2 full"), EventType.BOUNCED, FULL),
    (failed("permanent", "generic", code=499), EventType.BOUNCED, SOFT),
    # the provider did not even try
    (
        failed("permanent", "suppress-bounce", code=605, description="previously bounced"),
        EventType.REJECTED,
        LISTED_BOUNCE,
    ),
    (failed("permanent", "suppress-complaint", code=607), EventType.REJECTED, LISTED_COMPLAINT),
    (failed("permanent", "suppress-unsubscribe", code=606), EventType.REJECTED, LISTED_UNSUBSCRIBE),
    (failed("permanent", "suppress-something-new"), EventType.REJECTED, FailureClass.LISTED_UNKNOWN),
    (failed("permanent", "generic", code=605), EventType.REJECTED, LISTED_BOUNCE),
    (failed("permanent", None, code="607"), EventType.REJECTED, LISTED_COMPLAINT),
    # permanent, but with a code of class 4 from the server: no hard bounce, whatever Mailgun calls it
    (
        failed("permanent", "bounce", code=450, message="4.2.1 The user is receiving mail too fast"),
        EventType.BOUNCED,
        SOFT,
    ),
    (failed("permanent", "bounce", code=450), EventType.BOUNCED, SOFT),
    (failed("permanent", "bounce", code=421, message="4.4.2 Connection dropped"), EventType.BOUNCED, SOFT),
    (failed("permanent", "generic", code=447, message="delayed"), EventType.BOUNCED, SOFT),
    (failed("permanent", "bounce", code=450, enhanced_code="5.1.1"), EventType.BOUNCED, SOFT),
    # fields that are missing, or of another type
    (failed(None, None, code=550, message="5.1.1 unknown"), EventType.BOUNCED, HARD),
    (failed(None, None, code=421), EventType.DEFERRED, None),
    (failed(None, None, bounce_type="hard"), EventType.BOUNCED, SOFT),
    (failed(None, None, bounce_type="soft", code=550), EventType.DEFERRED, None),
    ({"event": "failed"}, EventType.DEFERRED, None),
    ({"event": "failed", "severity": "permanent"}, EventType.BOUNCED, SOFT),
    ({"event": "failed", "severity": 5, "reason": [], "delivery-status": "550", "flags": 1}, EventType.DEFERRED, None),
    ({"event": "rejected", "reject": "no"}, EventType.REJECTED, REJECTED),
]


@pytest.mark.parametrize(("data", "news", "kind"), CASES, ids=lambda part: str(part)[:90])
def test_what_an_event_of_mailgun_means(data: dict[str, Any], news: str, kind: FailureClass | None) -> None:
    found = classify_mailgun.classify(data)
    assert (found.type, found.failure and found.failure.kind) == (news, kind)


def test_a_delayed_bounce_says_that_it_is_one() -> None:
    data = failed("permanent", "bounce", code=550, message="5.1.1 gone") | {"flags": {"is-delayed-bounce": True}}
    assert classify_mailgun.classify(data).failure is not None
    assert classify_mailgun.classify(data).detail == "after it was accepted: 5.1.1 gone"


def test_a_server_s_reply_is_shown_without_addresses() -> None:
    said = "550 5.1.1 <ada.lovelace@example.org>:\n Recipient ada@example.org unknown"
    assert one_line(said) == "550 5.1.1 <a***@example.org>: Recipient a***@example.org unknown"


def test_a_server_s_reply_is_cut_off() -> None:
    assert len(one_line("x " * 10_000)) == 500


REPLIES = [
    # Yahoo, Microsoft, Gmail and others, of a mailbox that does not exist.
    (
        "554",
        "554 delivery error: dd This user doesn't have a yahoo.com account (ada@yahoo.com) [0] - mta1.example",
        HARD,
    ),
    ("554", "552 1 Requested mail action aborted, mailbox not found ada@yahoo.com", HARD),
    ("550", "5.5.0 Requested action not taken: mailbox unavailable", HARD),
    ("550", "5.4.1 Recipient address rejected: Access denied. AS(201806281)", HARD),
    ("550", "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", HARD),
    ("550", "5.1.1 unknown or illegal alias: ada@icloud.com", HARD),
    ("554", "Recipient address rejected: User unknown in virtual mailbox table", HARD),
    ("554", "5.7.1 <ada@example.org>: Recipient address rejected: user unknown", HARD),
    ("554", "Sorry, no mailbox here by that name.", HARD),
    # The same servers, of mail that they do not want.
    ("554", "5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes", BLOCKED),
    ("550", "5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. ... on our block list (S3140)", BLOCKED),
    ("550", "Blocked using zen.spamhaus.org", BLOCKED),
    ("554", "Transaction failed. Reject due to policy restrictions.", BLOCKED),
    ("554", "5.7.1 <ada@example.org>: Recipient address rejected: Access denied", BLOCKED),
    ("550", "5.1.0 <l@mg.example.org>: Sender address rejected: User unknown in virtual alias table", BLOCKED),
    ("550", "5.1.1 too many invalid recipients", BLOCKED),
    ("554", "Something that nobody knows", BLOCKED),
    # A mailbox that is full.
    ("552", "5.2.2 The email account that you tried to reach is over quota", FULL),
    ("554", "delivery error: dd The mailbox for ada@yahoo.com is full", FULL),
    ("452", "4.2.2 The recipient's inbox is out of storage space", FULL),
    # Class 4, whatever it says.
    ("450", "4.2.1 User unknown", SOFT),
    ("421", "4.7.0 [TSS04] Messages temporarily deferred due to user complaints", SOFT),
]


@pytest.mark.parametrize(("code", "said", "kind"), REPLIES)
def test_known_sentences_tell_a_missing_mailbox_from_a_block(code: str, said: str, kind: FailureClass) -> None:
    found = classify_mailgun.classify(failed("permanent", "generic", code=code, message=said))
    assert found.failure
    assert found.failure.kind == kind


@given(st.text(max_size=300), st.sampled_from(["4.1.1", "4.2.1", "4.7.1", "4.0.0"]))
def test_a_reply_of_class_4_is_never_a_hard_bounce(words: str, enhanced: str) -> None:
    assert ServerReply.read(450, words, enhanced).failure_class() in (SOFT, FULL)
    assert ServerReply.read(None, f"550 {enhanced} user unknown {words}").failure_class() in (SOFT, FULL)


@pytest.mark.parametrize("words", ["mailbox for ", "sender is ", "transaction failed ", "this user doesnt have a "])
def test_a_long_reply_is_read_quickly(words: str) -> None:
    started = time.process_time()
    assert ServerReply.read(554, words * 100_000).failure_class() is None
    assert time.process_time() - started < 50 * fixed_work.cpu_seconds()


def test_an_enhanced_code_is_not_an_address_or_a_version() -> None:
    assert ServerReply.read(550, "from 10.5.1.1 by mx 15.1.1").enhanced is None
    assert ServerReply.read("5.1.1").enhanced == (5, 1, 1)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
FIELDS = [
    "severity",
    "reason",
    "delivery-status",
    "reject",
    "flags",
    "url",
    "user-variables",
    "message",
    "domain",
    "id",
]
INNER = ["code", "enhanced-code", "message", "description", "bounce-type", "last-code", "last-message", "headers"]
parts = json | st.dictionaries(st.sampled_from(INNER), json, max_size=4)


@given(
    st.sampled_from(["failed", "rejected", "delivered", "clicked", "opened", "complained", "unsubscribed", "new"]),
    st.dictionaries(st.sampled_from(FIELDS), parts, max_size=6),
)
def test_any_event_can_be_classified(event: str, fields: dict[str, Any]) -> None:
    reported = provider_event.from_mailgun({**fields, "event": event})
    assert reported.classification.type in {*EventType.values, event}
    assert len(reported.key) == len(reported.disregarded_key) == 64


# --- other providers --------------------------------------------------------------------------------------------

OTHERS: list[tuple[str, str | None, str, str, FailureClass | None]] = [
    (AnymailEvent.QUEUED, None, "", EventType.ACCEPTED, None),
    (AnymailEvent.SENT, None, "", EventType.ACCEPTED, None),
    (AnymailEvent.DELIVERED, None, "", EventType.DELIVERED, None),
    (AnymailEvent.DEFERRED, None, "4.2.2 full", EventType.DEFERRED, None),
    (AnymailEvent.BOUNCED, RejectReason.BOUNCED, "", EventType.BOUNCED, HARD),
    (AnymailEvent.BOUNCED, RejectReason.BOUNCED, "552 5.2.2 full", EventType.BOUNCED, FULL),
    (AnymailEvent.BOUNCED, RejectReason.OTHER, "550 5.7.1 no", EventType.BOUNCED, BLOCKED),
    (AnymailEvent.BOUNCED, RejectReason.BOUNCED, "421 4.4.2 dropped", EventType.BOUNCED, SOFT),
    (AnymailEvent.BOUNCED, RejectReason.BOUNCED, "smtp; 450 4.2.1 too fast", EventType.BOUNCED, SOFT),
    (AnymailEvent.BOUNCED, RejectReason.BOUNCED, "450 later", EventType.BOUNCED, SOFT),
    (AnymailEvent.BOUNCED, RejectReason.OTHER, "", EventType.BOUNCED, SOFT),
    (AnymailEvent.BOUNCED, RejectReason.SPAM, "", EventType.BOUNCED, BLOCKED),
    (AnymailEvent.BOUNCED, RejectReason.TIMED_OUT, "", EventType.BOUNCED, SOFT),
    (AnymailEvent.REJECTED, RejectReason.SPAM, "", EventType.REJECTED, LISTED_COMPLAINT),
    (AnymailEvent.REJECTED, RejectReason.UNSUBSCRIBED, "", EventType.REJECTED, LISTED_UNSUBSCRIBE),
    (AnymailEvent.REJECTED, RejectReason.INVALID, "", EventType.REJECTED, INVALID),
    (AnymailEvent.REJECTED, None, "", EventType.REJECTED, REJECTED),
    (AnymailEvent.FAILED, None, "", EventType.REJECTED, REJECTED),
    (AnymailEvent.COMPLAINED, RejectReason.SPAM, "", EventType.COMPLAINED, COMPLAINT),
    (AnymailEvent.UNSUBSCRIBED, None, "", EventType.UNSUBSCRIBED, UNSUBSCRIBED),
    (AnymailEvent.OPENED, None, "", EventType.OPENED, None),
    (AnymailEvent.CLICKED, None, "", EventType.CLICKED, None),
    (AnymailEvent.AUTORESPONDED, None, "", "autoresponded", None),
    (AnymailEvent.SUBSCRIBED, None, "", "subscribed", None),
    (AnymailEvent.UNKNOWN, None, "", "unknown", None),
]


@pytest.mark.parametrize(("event_type", "reason", "said", "news", "kind"), OTHERS)
def test_what_another_provider_s_event_means(
    event_type: str, reason: str | None, said: str, news: str, kind: FailureClass | None
) -> None:
    event = AnymailTrackingEvent(event_type=event_type, reject_reason=reason, mta_response=said or None)
    found = classify_anymail.classify(event)
    assert (found.type, found.failure and found.failure.kind) == (news, kind)


@pytest.mark.parametrize(("detail", "said"), [("550 no such user", "550 no such user"), ("", "hard bounce")])
def test_a_failure_without_a_text_is_described_by_its_class(detail: str, said: str) -> None:
    classified = classify.failed(EventType.BOUNCED, HARD, detail)
    assert classified == classify.Classification("bounced", Failure(HARD, said), detail)


def test_no_text_is_an_empty_line() -> None:
    assert one_line(None, " ", 5) == ""
