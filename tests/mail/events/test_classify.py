"""What events mean: every kind of Mailgun's, in the forms that Mailgun documents, and those of other providers."""

import time
from typing import Any

import pytest
from anymail.signals import AnymailTrackingEvent, EventType, RejectReason
from hypothesis import given
from hypothesis import strategies as st

from mail.events import classify_anymail, classify_mailgun, provider_event
from mail.events.classify import News, Reply, plainly
from mail.failure import FailureClass

HARD, SOFT, FULL = FailureClass.HARD_BOUNCE, FailureClass.SOFT_BOUNCE, FailureClass.MAILBOX_FULL
BLOCKED, INVALID, COMPLAINT = FailureClass.BLOCKED, FailureClass.INVALID, FailureClass.COMPLAINT
UNSUBSCRIBED, REJECTED = FailureClass.UNSUBSCRIBED, FailureClass.REJECTED
LISTED_BOUNCE, LISTED_COMPLAINT = FailureClass.LISTED_BOUNCE, FailureClass.LISTED_COMPLAINT
LISTED_UNSUBSCRIBE = FailureClass.LISTED_UNSUBSCRIBE


def failed(severity: str | None, reason: str | None, **status: Any) -> dict[str, Any]:
    """A failed event; of the status, names with _ stand for those with -."""
    data: dict[str, Any] = {"event": "failed", "severity": severity, "reason": reason}
    data = {name: value for name, value in data.items() if value is not None}
    return data | {"delivery-status": {name.replace("_", "-"): value for name, value in status.items()}}


CASES: list[tuple[dict[str, Any], str, FailureClass | None]] = [
    ({"event": "accepted", "method": "HTTP", "originating-ip": "192.0.2.1"}, News.ACCEPTED, None),
    ({"event": "delivered", "delivery-status": {"code": 250, "message": "OK", "tls": True}}, News.DELIVERED, None),
    ({"event": "delivered"}, News.DELIVERED, None),
    ({"event": "opened", "client-info": {"client-name": "Chrome", "bot": ""}, "ip": "192.0.2.1"}, News.OPENED, None),
    ({"event": "opened", "client-info": None}, News.OPENED, None),
    ({"event": "clicked", "url": "https://example.org/", "geolocation": {"country": "US"}}, News.CLICKED, None),
    ({"event": "unsubscribed", "tags": ["*"]}, News.UNSUBSCRIBED, UNSUBSCRIBED),
    ({"event": "complained", "flags": {"is-test-mode": False}}, News.COMPLAINED, COMPLAINT),
    ({"event": "rejected", "reject": {"reason": "Sandbox subdomains are for test purposes"}}, News.REJECTED, REJECTED),
    ({"event": "rejected"}, News.REJECTED, REJECTED),
    ({"event": "stored"}, "stored", None),
    ({"event": "email_validation"}, "email_validation", None),
    # in progress: the provider goes on trying
    (failed("temporary", "generic", code=421, message="4.3.2 Service busy", retry_seconds=600), News.DEFERRED, None),
    (failed("temporary", "greylisted", code=450, enhanced_code="4.7.1"), News.DEFERRED, None),
    (failed("temporary", "generic", code=452, message="4.2.2 mailbox full"), News.DEFERRED, None),
    (failed("temporary", "generic", code=498, description="No MX for nomx.example.com"), News.DEFERRED, None),
    (failed("temporary", "generic", code=499, description="Unable to connect to MX servers"), News.DEFERRED, None),
    (failed("temporary", "espblock", code=421, enhanced_code="4.7.0"), News.DEFERRED, None),
    (failed("temporary", "generic", code=550, message="5.1.1 but they will try again"), News.DEFERRED, None),
    # for good, by the server's own words
    (failed("permanent", "bounce", code=550, message="5.1.1 The email account does not exist"), News.BOUNCED, HARD),
    (failed("permanent", "bounce", code=550, enhanced_code="5.1.1", bounce_type="hard"), News.BOUNCED, HARD),
    (failed("permanent", "bounce", code=550), News.BOUNCED, HARD),
    (failed("permanent", "bounce"), News.BOUNCED, HARD),
    (failed("permanent", "generic", code=550, message="5.1.2 no such domain"), News.BOUNCED, HARD),
    (failed("permanent", "generic", code=554, message="5.2.1 mailbox disabled"), News.BOUNCED, HARD),
    (failed("permanent", "hardfail", code=550, message="no such user"), News.BOUNCED, HARD),
    (failed("permanent", "bounce", code=552, enhanced_code="5.2.2"), News.BOUNCED, FULL),
    (failed("permanent", "bounce", code=550, message="550-5.2.2 over quota"), News.BOUNCED, FULL),
    (failed("permanent", "bounce", code=552, message="quota exceeded"), News.BOUNCED, FULL),
    (failed("permanent", "generic", code=452, enhanced_code="4.2.2"), News.BOUNCED, FULL),
    (failed("permanent", "espblock", code=550, message="likely unsolicited mail"), News.BOUNCED, BLOCKED),
    (failed("permanent", "blacklisted", code=550), News.BOUNCED, BLOCKED),
    (failed("permanent", "bounce", code=550, enhanced_code="5.7.1"), News.BOUNCED, BLOCKED),
    (failed("permanent", "generic", code=554, message="5.7.26 unauthenticated"), News.BOUNCED, BLOCKED),
    (failed("permanent", "bounce", code=553, message="5.1.8 sender domain unknown"), News.BOUNCED, BLOCKED),
    (failed("permanent", "generic", code=554, message="Transaction failed"), News.BOUNCED, BLOCKED),
    (failed("permanent", "bounce", code=552, enhanced_code="5.3.4"), News.BOUNCED, INVALID),
    # for good, by age
    (failed("permanent", "old", code=602, description="Not delivering to too old message"), News.BOUNCED, SOFT),
    (failed("permanent", "generic", code=602), News.BOUNCED, SOFT),
    (failed("temporary", "old", code=498, description="No MX for nomx.example.com"), News.BOUNCED, SOFT),
    (failed("permanent", "old", code=602, last_code=452, last_message="4.2.2 full"), News.BOUNCED, FULL),
    (failed("permanent", "generic", code=499), News.BOUNCED, SOFT),
    # the provider did not even try
    (failed("permanent", "suppress-bounce", code=605, description="previously bounced"), News.REJECTED, LISTED_BOUNCE),
    (failed("permanent", "suppress-complaint", code=607), News.REJECTED, LISTED_COMPLAINT),
    (failed("permanent", "suppress-unsubscribe", code=606), News.REJECTED, LISTED_UNSUBSCRIBE),
    (failed("permanent", "suppress-something-new"), News.REJECTED, FailureClass.LISTED_UNKNOWN),
    (failed("permanent", "generic", code=605), News.REJECTED, LISTED_BOUNCE),
    (failed("permanent", None, code="607"), News.REJECTED, LISTED_COMPLAINT),
    # for good, though the server's code is of class 4: no hard bounce, whatever Mailgun calls it
    (failed("permanent", "bounce", code=450, message="4.2.1 The user is receiving mail too fast"), News.BOUNCED, SOFT),
    (failed("permanent", "bounce", code=450), News.BOUNCED, SOFT),
    (failed("permanent", "bounce", code=421, message="4.4.2 Connection dropped"), News.BOUNCED, SOFT),
    (failed("permanent", "generic", code=447, message="delayed"), News.BOUNCED, SOFT),
    (failed("permanent", "bounce", code=450, enhanced_code="5.1.1"), News.BOUNCED, SOFT),
    # fields that are missing, or of another type
    (failed(None, None, code=550, message="5.1.1 unknown"), News.BOUNCED, HARD),
    (failed(None, None, code=421), News.DEFERRED, None),
    (failed(None, None, bounce_type="hard"), News.BOUNCED, SOFT),
    (failed(None, None, bounce_type="soft", code=550), News.DEFERRED, None),
    ({"event": "failed"}, News.DEFERRED, None),
    ({"event": "failed", "severity": "permanent"}, News.BOUNCED, SOFT),
    ({"event": "failed", "severity": 5, "reason": [], "delivery-status": "550", "flags": 1}, News.DEFERRED, None),
    ({"event": "rejected", "reject": "no"}, News.REJECTED, REJECTED),
]


@pytest.mark.parametrize(("data", "news", "kind"), CASES, ids=lambda part: str(part)[:90])
def test_what_an_event_of_mailgun_means(data: dict[str, Any], news: str, kind: FailureClass | None) -> None:
    meaning = classify_mailgun.meaning(data)
    assert (meaning.news, meaning.failure and meaning.failure.kind) == (news, kind)


def test_a_delayed_bounce_says_that_it_is_one() -> None:
    data = failed("permanent", "bounce", code=550, message="5.1.1 gone") | {"flags": {"is-delayed-bounce": True}}
    assert classify_mailgun.meaning(data).failure is not None
    assert classify_mailgun.meaning(data).detail == "after it was accepted: 5.1.1 gone"


def test_what_a_server_said_is_told_without_addresses() -> None:
    said = "550 5.1.1 <ada.lovelace@example.org>:\n Recipient ada@example.org unknown"
    assert plainly(said) == "550 5.1.1 <a***@example.org>: Recipient a***@example.org unknown"


def test_what_a_server_said_is_bounded() -> None:
    assert len(plainly("x " * 10_000)) == 500


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
    meaning = classify_mailgun.meaning(failed("permanent", "generic", code=code, message=said))
    assert meaning.failure
    assert meaning.failure.kind == kind


@given(st.text(max_size=300), st.sampled_from(["4.1.1", "4.2.1", "4.7.1", "4.0.0"]))
def test_a_reply_of_class_4_is_never_a_hard_bounce(words: str, enhanced: str) -> None:
    assert Reply.read(450, words, enhanced).failure() in (SOFT, FULL)
    assert Reply.read(None, f"550 {enhanced} user unknown {words}").failure() in (SOFT, FULL)


@pytest.mark.parametrize("words", ["mailbox for ", "sender is ", "transaction failed ", "this user doesnt have a "])
def test_a_long_reply_is_read_in_no_time(words: str) -> None:
    started = time.perf_counter()
    assert Reply.read(554, words * 100_000).failure() is None
    assert time.perf_counter() - started < 5


def test_an_enhanced_code_is_not_an_address_or_a_version() -> None:
    assert Reply.read(550, "from 10.5.1.1 by mx 15.1.1").enhanced is None
    assert Reply.read("5.1.1").enhanced == (5, 1, 1)


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
def test_whatever_is_in_an_event_it_has_a_meaning(event: str, fields: dict[str, Any]) -> None:
    report = provider_event.of_mailgun({**fields, "event": event})
    assert report.meaning.news in {*News.values, event}
    assert len(report.key) == len(report.disregarded_key) == 64


# --- other providers --------------------------------------------------------------------------------------------

OTHERS: list[tuple[str, str | None, str, str, FailureClass | None]] = [
    (EventType.QUEUED, None, "", News.ACCEPTED, None),
    (EventType.SENT, None, "", News.ACCEPTED, None),
    (EventType.DELIVERED, None, "", News.DELIVERED, None),
    (EventType.DEFERRED, None, "4.2.2 full", News.DEFERRED, None),
    (EventType.BOUNCED, RejectReason.BOUNCED, "", News.BOUNCED, HARD),
    (EventType.BOUNCED, RejectReason.BOUNCED, "552 5.2.2 full", News.BOUNCED, FULL),
    (EventType.BOUNCED, RejectReason.OTHER, "550 5.7.1 no", News.BOUNCED, BLOCKED),
    (EventType.BOUNCED, RejectReason.BOUNCED, "421 4.4.2 dropped", News.BOUNCED, SOFT),
    (EventType.BOUNCED, RejectReason.BOUNCED, "smtp; 450 4.2.1 too fast", News.BOUNCED, SOFT),
    (EventType.BOUNCED, RejectReason.BOUNCED, "450 later", News.BOUNCED, SOFT),
    (EventType.BOUNCED, RejectReason.OTHER, "", News.BOUNCED, SOFT),
    (EventType.BOUNCED, RejectReason.SPAM, "", News.BOUNCED, BLOCKED),
    (EventType.BOUNCED, RejectReason.TIMED_OUT, "", News.BOUNCED, SOFT),
    (EventType.REJECTED, RejectReason.SPAM, "", News.REJECTED, LISTED_COMPLAINT),
    (EventType.REJECTED, RejectReason.UNSUBSCRIBED, "", News.REJECTED, LISTED_UNSUBSCRIBE),
    (EventType.REJECTED, RejectReason.INVALID, "", News.REJECTED, INVALID),
    (EventType.REJECTED, None, "", News.REJECTED, REJECTED),
    (EventType.FAILED, None, "", News.REJECTED, REJECTED),
    (EventType.COMPLAINED, RejectReason.SPAM, "", News.COMPLAINED, COMPLAINT),
    (EventType.UNSUBSCRIBED, None, "", News.UNSUBSCRIBED, UNSUBSCRIBED),
    (EventType.OPENED, None, "", News.OPENED, None),
    (EventType.CLICKED, None, "", News.CLICKED, None),
    (EventType.AUTORESPONDED, None, "", "autoresponded", None),
    (EventType.SUBSCRIBED, None, "", "subscribed", None),
    (EventType.UNKNOWN, None, "", "unknown", None),
]


@pytest.mark.parametrize(("event_type", "reason", "said", "news", "kind"), OTHERS)
def test_what_another_provider_s_event_means(
    event_type: str, reason: str | None, said: str, news: str, kind: FailureClass | None
) -> None:
    event = AnymailTrackingEvent(event_type=event_type, reject_reason=reason, mta_response=said or None)
    meaning = classify_anymail.meaning(event)
    assert (meaning.news, meaning.failure and meaning.failure.kind) == (news, kind)
