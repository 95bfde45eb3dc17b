"""Mailgun's webhook: what is accepted, once, and what is never believed."""

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from jobs.models import Job
from mail.events import ingest
from mail.models import Alert, Attempt, Event, WebhookToken
from mail.status import Status
from mail.webhooks import refusals
from tests.support.api_clients import assert_problem
from tests.support.mail.mailgun_webhooks import (
    ADA,
    DOMAIN,
    KEY,
    URL,
    failure,
    make_attempt,
    make_event,
    make_message,
    only_event,
    post,
    sign,
    tell,
)

pytestmark = pytest.mark.django_db

STATEMENTS = 10
"""That a webhook costs: six reads and writes, and the frame of a transaction in a transaction."""


def test_an_event_is_stored_whole_and_its_effect_is_a_job() -> None:
    attempt = make_attempt()
    data = make_event(attempt)

    assert tell(data).status_code == 200

    event = only_event()
    assert event.raw == data
    assert (event.attempt, event.message, event.provider) == (attempt, attempt.message, "mailgun")
    assert (event.type, event.source, event.disregarded, event.applied_at) == ("delivered", "webhook", "", None)
    assert Job.objects.get().kind == "mail.event"
    assert Job.objects.get().params == {"event": str(event.pk)}


def test_a_webhook_costs_few_statements() -> None:
    first, data = make_event(make_attempt()), make_event(make_attempt())
    assert tell(first).status_code == 200  # prepares the INSERT of its job on this connection
    with CaptureQueriesContext(connection) as queries:
        assert tell(data).status_code == 200
    assert len(queries) <= STATEMENTS, [query["sql"] for query in queries]


def test_a_webhook_that_comes_again_is_taken_once() -> None:
    data, signature = make_event(make_attempt()), sign()
    assert [tell(data, signature).status_code for _ in range(3)] == [200] * 3
    assert Event.objects.count() == Job.objects.count() == 1


def test_an_event_that_comes_by_two_webhooks_is_taken_once() -> None:
    data = make_event(make_attempt())
    assert [tell(data).status_code for _ in range(2)] == [200] * 2
    assert Event.objects.count() == Job.objects.count() == 1
    assert WebhookToken.objects.count() == 2


def test_two_events_with_one_id_on_different_days_are_two() -> None:
    attempt = make_attempt()
    for day in range(2):
        tell(make_event(attempt, id="the-same", timestamp=time.time() - day * 86400))
    assert Event.objects.filter(disregarded="").count() == 2


def test_a_signature_is_good_for_one_event() -> None:
    attempt, signature = make_attempt(), sign()
    tell(make_event(attempt), signature)

    assert_problem(tell(make_event(attempt, "complained"), signature), 406)
    assert only_event().type == "delivered"


def test_a_webhook_that_is_faster_than_the_provider_s_answer_is_matched() -> None:
    attempt = make_attempt(make_message(Status.SENDING), outcome="")
    tell(make_event(attempt))
    assert only_event().attempt == attempt


def test_an_event_without_our_variables_is_matched_by_the_provider_s_id() -> None:
    attempt = make_attempt()
    tell(make_event(attempt) | {"user-variables": {}})
    assert only_event().attempt == attempt


@pytest.mark.parametrize("variables", ['{"attempt_id": "%s"}', {"attempt_id": "%s", "other": {"deep": 1}}])
def test_user_variables_may_be_an_object_or_its_json(variables: Any) -> None:
    attempt = make_attempt(provider_message_id="<another@example.org>")
    given = variables % attempt.pk if isinstance(variables, str) else variables | {"attempt_id": str(attempt.pk)}
    tell(make_event(attempt) | {"user-variables": given, "message": None})
    assert only_event().attempt == attempt


@pytest.mark.parametrize(
    ("swapped", "why"),
    [
        ({"recipient": "eve@example.org"}, "another recipient"),
        ({"recipient": None, "message": None}, "another recipient"),
        ({"domain": {"name": "evil.example.org"}}, "another domain"),
        ({"domain": "evil.example.org"}, "another domain"),
        ({"user-variables": {"attempt_id": "0197b3a0-0000-7000-8000-000000000000"}}, "matches no attempt"),
        ({"user-variables": {}, "message": {}}, "matches no attempt"),
        ({"user-variables": [1], "message": [2]}, "matches no attempt"),
    ],
)
def test_a_swapped_body_is_kept_and_disregarded(swapped: dict[str, Any], why: str) -> None:
    assert tell(make_event(make_attempt(), "complained", **swapped)).status_code == 200
    event = only_event()
    assert why in event.disregarded
    assert (event.message, event.attempt) == (None, None)
    assert not Job.objects.exists()


def test_an_event_with_the_id_of_another_attempt_is_disregarded() -> None:
    eve = make_attempt(make_message(address="eve@example.org"))
    data = make_event(make_attempt(), "complained") | {"user-variables": {"attempt_id": str(eve.pk)}}
    tell(data)
    assert "another recipient" in only_event().disregarded


def test_the_event_of_another_provider_s_message_is_not_believed() -> None:
    tell(make_event(make_attempt(provider="sendgrid")))
    assert "was not given to mailgun" in only_event().disregarded


@pytest.mark.parametrize("kind", ["complained", "delivered"])
def test_an_event_is_believed_after_the_configuration_has_changed(kind: str, settings: Any) -> None:
    """The sender domain has changed or the account was removed: the attempt keeps what they were."""
    attempts = [
        make_attempt(make_message(), service="mailgun", domain=DOMAIN, provider=name) for name in ("mailgun", "old")
    ]
    options = {**settings.MAIL_PROVIDERS[0]["options"], "sender_domain": "new.example.org"}
    settings.MAIL_PROVIDERS = [{**settings.MAIL_PROVIDERS[0], "options": options}]
    for attempt in attempts:
        tell(make_event(attempt, kind))
    assert set(Event.objects.values_list("attempt", "disregarded")) == {(attempt.pk, "") for attempt in attempts}
    tell(make_event(attempts[0], "opened", domain={"name": "new.example.org"}))
    assert "another domain" in Event.objects.get(type="opened").disregarded


def test_a_forged_event_does_not_keep_the_true_one_out() -> None:
    data = make_event(make_attempt())
    forged = data | {"user-variables": {"attempt_id": "0197b3a0-0000-7000-8000-000000000000"}}
    tell(forged)
    tell(forged)
    tell(data)
    assert Event.objects.filter(disregarded="").count() == 1
    assert Event.objects.exclude(disregarded="").count() == 1


def test_an_event_about_a_forgotten_person_is_stored_without_its_content() -> None:
    attempt = make_attempt(make_message(address=""))
    tell(make_event(attempt, "opened", recipient=ADA))
    assert "forgotten" in only_event().disregarded
    assert only_event().raw is None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ADA, "Ada@Example.org"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ("ada@xn--strae-oqa.example", "ada@straße.example"),
    ],
)
def test_a_recipient_is_known_in_another_spelling(ours: str, theirs: str) -> None:
    tell(make_event(make_attempt(make_message(address=ours)), recipient=theirs))
    assert only_event().disregarded == ""


def test_a_rejected_event_names_no_recipient() -> None:
    data = make_event(make_attempt(), "rejected", reject={"reason": "Sandbox"})
    del data["recipient"]
    tell(data | {"message": {"headers": {"to": f"Ada <{ADA}>"}}})
    assert only_event().disregarded == ""


def test_an_unknown_kind_of_event_is_kept() -> None:
    assert tell(make_event(make_attempt(), "list_member_uploaded")).status_code == 200
    assert only_event().type == "list_member_uploaded"


# --- what is refused for good -----------------------------------------------------------------------------------


WRONG: dict[str, Callable[[], Any]] = {
    "none": dict,
    "a list": list,
    "a text": str,
    "another key": lambda: sign(key="another key"),
    "no key": lambda: sign(key=""),
    "not ASCII": lambda: sign() | {"signature": "ä" * 64},
    "null": lambda: sign() | {"signature": None},
    "a number": lambda: sign() | {"signature": 12},
    "another token": lambda: sign() | {"token": "another"},
    "an odd token": lambda: sign(token="ä"),
    "a list as token": lambda: sign() | {"token": ["x"]},
    "a long token": lambda: sign(token="x" * 101),
    "a NUL in the token": lambda: sign(token="a\0b"),
    "an object as timestamp": lambda: sign() | {"timestamp": {"a": 1}},
    "an odd timestamp": lambda: sign(timestamp="12ä"),
    "another timestamp": lambda: sign() | {"timestamp": "1534108637"},
    "too old": lambda: sign(timestamp=int(time.time()) - 25 * 3600),
    "from the future": lambda: sign(timestamp=int(time.time()) + 3600),
    "before time": lambda: sign(timestamp=-5),
    "an exponent": lambda: sign(timestamp="1e9"),
    "after time": lambda: sign(timestamp=10**40),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_or_stale_signature_is_refused_for_good(kind: str) -> None:
    assert_problem(post({"signature": WRONG[kind](), "event-data": make_event(make_attempt())}), 406)
    assert not Event.objects.exists()
    assert not WebhookToken.objects.exists()


@pytest.mark.parametrize("hours", [0, 8, 23])
def test_a_retry_of_mailgun_s_is_not_stale(hours: int) -> None:
    assert tell(make_event(make_attempt()), sign(int(time.time()) - hours * 3600)).status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "delivered",
        {},
        {"event": None},
        {"event": ["delivered"]},
        {"event": ""},
        {"event": "x" * 51},
        {"event": "delivered", "recipient": ["ada"]},
        {"event": "delivered", "timestamp": "yesterday"},
        {"event": "delivered", "timestamp": {}},
        {"event": "delivered", "timestamp": True},
        {"event": "delivered", "timestamp": 1e300},
        {"event": "delivered", "timestamp": -1},
    ],
    ids=str,
)
def test_invalid_event_data_is_refused_for_good(data: Any) -> None:
    assert_problem(tell(data), 406)
    assert not WebhookToken.objects.exists()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"signature": "\\ud800"}']
)
def test_garbage_is_refused_for_good(body: bytes) -> None:
    assert_problem(post(body), 406)


def test_an_event_that_is_nested_too_deeply_is_refused_for_good() -> None:
    deep: Any = {}
    for _ in range(150):
        deep = {"deeper": deep}
    assert_problem(tell(make_event(make_attempt(), deep=deep)), 406)


def test_characters_that_a_database_refuses_are_removed() -> None:
    attempt = make_attempt()
    odd = {"a\0b": "c\0d", "number": 10**40, "list": [{"x\0": None}]}
    data = failure(attempt, message="550 5.1.1 no such\0user", code=550) | {"odd": odd}
    assert tell(data).status_code == 200
    assert only_event().raw["odd"]["ab"] == "cd"
    assert only_event().detail == "550 5.1.1 no suchuser"


@pytest.mark.parametrize("given", [None, "user:wrong", "nonsense"])
def test_the_secret_in_the_url_is_asked_for_when_there_is_one(given: str | None, settings: Any) -> None:
    settings.ANYMAIL = {**settings.ANYMAIL, "WEBHOOK_SECRET": "user:right"}
    headers = {"Authorization": "Basic " + base64.b64encode(given.encode()).decode()} if given else {}
    assert_problem(tell(make_event(make_attempt()), headers=headers), 406)
    right = {"Authorization": "Basic " + base64.b64encode(b"user:right").decode()}
    assert tell(make_event(make_attempt()), headers=right).status_code == 200


# --- keys that change, clocks that are wrong --------------------------------------------------------------------------


def test_two_keys_are_good_while_one_replaces_the_other(settings: Any) -> None:
    options = {**settings.MAIL_PROVIDERS[0]["options"], "webhook_signing_key": f"old, {KEY}"}
    settings.MAIL_PROVIDERS = [{**settings.MAIL_PROVIDERS[0], "options": options}]
    settings.ANYMAIL = {"MAILGUN_WEBHOOK_SIGNING_KEY": f"old, {KEY}"}
    for key in ("old", KEY):
        assert tell(make_event(make_attempt()), sign(key=key)).status_code == 200
    for key in ("older", "", f"old, {KEY}"):
        assert_problem(tell(make_event(make_attempt()), sign(key=key)), 406)
    settings.MAIL_PROVIDERS = []  # the key is known although the account is not any more
    assert tell(make_event(make_attempt(service="mailgun", domain=DOMAIN)), sign(key="old")).status_code == 200


@pytest.fixture
def no_refusals() -> None:
    refusals.record_accepted("mailgun")


@pytest.mark.usefixtures("no_refusals")
@pytest.mark.parametrize(
    "wrong", [lambda: sign(key="another"), lambda: sign(int(time.time()) + 3600)], ids=["the key", "the clock"]
)
def test_unverified_webhooks_in_a_row_are_an_alert(wrong: Callable[[], Any]) -> None:
    data = make_event(make_attempt())
    for _ in range(refusals.IN_A_ROW - 1):
        tell(data, wrong())
    assert not Alert.objects.exists()
    for _ in range(2 * refusals.IN_A_ROW):
        assert_problem(tell(data, wrong()), 406)
    alert = Alert.objects.get()
    assert (alert.kind, alert.provider) == ("webhooks_refused", "mailgun")
    assert "signature" in alert.detail


@pytest.mark.usefixtures("no_refusals")
def test_a_single_forgery_and_requests_that_no_provider_sends_cause_no_alert() -> None:
    for _ in range(refusals.IN_A_ROW):
        tell(make_event(make_attempt()), sign(key="another"))
        tell(make_event(make_attempt()))
    for _ in range(refusals.IN_A_ROW):
        post({"hello": "world"})
        post(b"{")
    assert not Alert.objects.exists()


# --- what is worth another try ----------------------------------------------------------------------------------


def test_nothing_is_accepted_without_a_signing_key(settings: Any) -> None:
    settings.ANYMAIL = {"MAILGUN_WEBHOOK_SIGNING_KEY": ""}
    settings.MAIL_PROVIDERS = [{**settings.MAIL_PROVIDERS[0], "options": {}}]
    assert_problem(tell(make_event(make_attempt()), sign(key="")), 503)
    assert not Event.objects.exists()


@pytest.mark.parametrize("error", [OperationalError, RuntimeError, KeyError])
def test_an_error_of_ours_is_answered_with_503(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise error("no database today")

    data, signature = make_event(make_attempt()), sign()
    with monkeypatch.context() as patched:
        patched.setattr(ingest, "ingest", fails)
        answer = tell(data, signature)
    assert_problem(answer, 503)
    assert answer["Retry-After"]
    assert not WebhookToken.objects.exists()
    assert tell(data, signature).status_code == 200
    assert Attempt.objects.get().events.exists()


# --- other methods, other people --------------------------------------------------------------------------------


def test_head_is_answered_and_get_is_not_allowed() -> None:
    assert Client().head(URL).status_code == 200
    answer = Client().get(URL)
    assert_problem(answer, 405)
    assert "POST" in answer["Allow"]
    assert_problem(Client().put(URL), 405)


def test_a_webhook_needs_no_session_and_gets_none() -> None:
    answer = tell(make_event(make_attempt()))
    assert answer.status_code == 200
    assert not answer.cookies
    assert "RateLimit" not in answer
