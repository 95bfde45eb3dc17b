"""The webhooks of other providers: Anymail's views, wrapped, into the same ingest."""

import base64
import json
import time
from typing import Any

import pytest
from django.db import OperationalError
from django.http import HttpResponse
from django.test import Client

from mail.events import ingest
from mail.models import Event
from tests.support.api_clients import assert_problem
from tests.support.mail.mailgun_webhooks import ADA, DOMAIN, URL, make_attempt, make_event, post, sign, tell

pytestmark = pytest.mark.django_db

SECRET = "legwork:a-secret"
SPARKPOST = "/webhooks/anymail/sparkpost/tracking/"


@pytest.fixture(autouse=True)
def _providers(settings: Any) -> None:
    settings.MAIL_PROVIDERS = [
        account("mailgun", webhook_signing_key="signing-key-of-the-simulator", sender_domain=DOMAIN),
        account("backup", "mailgun", webhook_signing_key="another-key", sender_domain=DOMAIN),
        account("sparkpost"),
        account("postmark"),
        account("console"),
    ]
    settings.ANYMAIL = {**settings.ANYMAIL, "WEBHOOK_SECRET": SECRET}


def account(name: str, backend: str = "", **options: str) -> dict[str, Any]:
    return {"name": name, "backend": f"anymail.backends.{backend or name}.EmailBackend", "options": options}


def told(body: object, url: str = SPARKPOST, secret: str = SECRET) -> HttpResponse:
    return post(body, url, headers={"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()})


def sparkpost_event(attempt: Any, kind: str = "delivery", **fields: Any) -> dict[str, Any]:
    usual = {"type": kind, "event_id": f"{kind}-1", "timestamp": str(int(time.time())), "raw_rcpt_to": ADA}
    return {"msys": {"message_event": usual | {"rcpt_meta": {"attempt_id": str(attempt.pk)}} | fields}}


def test_another_provider_s_events_come_to_the_same_receiver() -> None:
    attempt = make_attempt(provider="sparkpost")
    body = [
        sparkpost_event(attempt, "injection"),
        sparkpost_event(attempt, "bounce", raw_reason="550 5.1.1 no", bounce_class="10"),
    ]
    for _ in range(2):
        assert told(body).status_code == 200
    assert sorted(Event.objects.values_list("type", "failure_class", "provider", "disregarded")) == [
        ("accepted", "", "sparkpost", ""),
        ("bounced", "hard_bounce", "sparkpost", ""),
    ]


def test_another_provider_s_events_are_believed_of_its_own_messages_only() -> None:
    told([sparkpost_event(make_attempt(provider="mailgun"), "spam_complaint")])
    told([sparkpost_event(make_attempt(provider="sparkpost"), "spam_complaint", raw_rcpt_to="eve@example.org")])
    assert not Event.objects.filter(disregarded="").exists()
    assert Event.objects.count() == 2


@pytest.mark.parametrize("at", [{"DeliveredAt": "2026-03-01T12:00:00Z"}, {}], ids=["same second", "no time"])
@pytest.mark.parametrize("matched_by", ["attempt_id", "provider_message_id"])
def test_events_without_an_id_count_once_for_each_of_two_messages(matched_by: str, at: dict[str, str]) -> None:
    attempts = [make_attempt(provider="postmark") for _ in range(2)]
    for attempt in attempts * 2:
        event = {"RecordType": "Delivery", "Recipient": ADA, "MessageID": attempt.provider_message_id, **at}
        metadata = {"attempt_id": str(attempt.pk)} if matched_by == "attempt_id" else {}
        assert told(event | {"Metadata": metadata}, "/webhooks/anymail/postmark/tracking/").status_code == 200
    assert list(Event.objects.values_list("type", "attempt")) == [("delivered", attempt.pk) for attempt in attempts]


def test_a_second_account_with_mailgun_has_its_own_key() -> None:
    url = "/webhooks/anymail/backup/tracking/"
    data = make_event(make_attempt(provider="backup"))
    assert_problem(post({"signature": sign(), "event-data": data}, url, headers=basic()), 406)
    assert post({"signature": sign(key="another-key"), "event-data": data}, url, headers=basic()).status_code == 200
    assert Event.objects.get().provider == "backup"


def test_mailgun_s_own_webhook_has_two_urls() -> None:
    signature, data = sign(), make_event(make_attempt())
    for url in [URL, "/webhooks/anymail/mailgun/tracking/"]:
        assert post({"signature": signature, "event-data": data}, url, headers=basic()).status_code == 200
    assert Event.objects.count() == 1


def basic() -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(SECRET.encode()).decode()}


@pytest.mark.parametrize("name", ["mandrill", "nobody", "console", "inbound"])
def test_a_provider_that_we_do_not_have_is_unknown(name: str) -> None:
    url = f"/webhooks/anymail/{name}/tracking/"
    assert_problem(told([], url), 404)
    assert_problem(Client().get(url), 404)


def test_a_probe_of_a_known_provider_is_answered() -> None:
    assert Client().head(SPARKPOST).status_code == 200
    assert_problem(Client().get(SPARKPOST), 405)


def test_a_wrong_secret_is_refused() -> None:
    assert_problem(told([], secret="legwork:guess"), 406)
    assert_problem(post([], SPARKPOST), 406)


def test_without_a_secret_no_unsigned_event_is_believed(settings: Any) -> None:
    settings.ANYMAIL = {}
    assert_problem(post([sparkpost_event(make_attempt(provider="sparkpost"))], SPARKPOST), 503)
    assert_problem(post({}, "/webhooks/anymail/postmark/tracking/"), 503)
    assert not Event.objects.exists()


@pytest.mark.parametrize("url", [SPARKPOST, "/webhooks/anymail/postmark/tracking/"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b"null", b"[null]", b'[{"event": []}]', b'[{"timestamp": "x"}]', b"\xff", b"[" * 9000],
    ids=lambda part: str(part)[:40],
)
def test_whatever_is_sent_is_stored_or_refused(body: bytes, url: str) -> None:
    assert told(body, url).status_code in (200, 406)


def test_an_error_of_ours_is_answered_with_503(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(ingest, "ingest", fails)
    assert_problem(told([sparkpost_event(make_attempt(provider="sparkpost"))]), 503)


# --- before 2018 ------------------------------------------------------------------------------------------------


def test_a_legacy_webhook_of_mailgun_is_taken() -> None:
    attempt = make_attempt()
    fields = {"event": "bounced", "recipient": ADA, "domain": DOMAIN, "code": "550", "error": "5.1.1 gone"}
    fields |= {"Message-Id": attempt.provider_message_id, "attempt_id": str(attempt.pk), **sign()}
    for content_type in [{}, {"content_type": "application/x-www-form-urlencoded"}]:
        body = "&".join(f"{k}={v.replace('<', '%3C')}" for k, v in fields.items()) if content_type else fields
        assert Client().post(URL, body, headers=basic(), **content_type).status_code == 200
    event = Event.objects.get()
    assert (event.type, event.failure_class, event.attempt) == ("bounced", "hard_bounce", attempt)


@pytest.mark.parametrize(
    ("fields", "news", "kind"),
    [
        ({"event": "delivered"}, "delivered", ""),
        ({"event": "opened", "client-name": "Firefox"}, "opened", ""),
        ({"event": "complained"}, "complained", "complaint"),
        ({"event": "bounced", "code": "552", "error": "5.2.2 full"}, "bounced", "mailbox_full"),
        ({"event": "dropped", "reason": "hardfail", "code": "605"}, "rejected", "listed_bounce"),
        ({"event": "dropped", "reason": "hardfail", "code": "607"}, "rejected", "listed_complaint"),
    ],
)
def test_what_a_legacy_webhook_means(fields: dict[str, str], news: str, kind: str) -> None:
    attempt = make_attempt()
    usual = {"recipient": ADA, "domain": DOMAIN, "Message-Id": attempt.provider_message_id, **sign()}
    assert Client().post(URL, usual | fields, headers=basic()).status_code == 200
    event = Event.objects.get()
    assert (event.type, event.failure_class, event.attempt) == (news, kind, attempt)


def test_a_legacy_webhook_from_another_domain_is_not_believed() -> None:
    fields = {"event": "complained", "recipient": ADA, "domain": "evil.example.org", **sign()}
    Client().post(URL, fields | {"Message-Id": make_attempt().provider_message_id}, headers=basic())
    assert "another domain" in Event.objects.get().disregarded


def test_a_legacy_webhook_with_a_wrong_signature_is_refused() -> None:
    assert_problem(Client().post(URL, {"event": "delivered", **sign(key="another")}, headers=basic()), 406)
    assert_problem(Client().post(URL, {"event": "delivered"}, headers=basic()), 406)
    assert tell({"event": "delivered"}, headers=basic()).status_code == 200
    assert json.loads(json.dumps(Event.objects.get().raw)) == {"event": "delivered"}
