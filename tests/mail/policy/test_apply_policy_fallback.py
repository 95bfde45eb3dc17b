"""Critical mail that a provider took and could not deliver: the alert, and which provider sends it next."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.models import Job
from mail.events import apply, ingest
from mail.events.provider_event import from_mailgun
from mail.models import Alert, Attempt, Message, Suppression
from mail.providers import breakers
from mail.status import Status
from tests.support.mail.mailgun_webhooks import failure, make_attempt, make_event, make_sent_message
from tests.support.mail.sending import classes, sending_by, work_on

pytestmark = pytest.mark.django_db

LATER = {"severity": "permanent", "reason": "generic", "code": 447, "message": "4.4.7 delivery delayed for too long"}
BLOCK = {"reason": "espblock", "code": 550, "message": "5.7.1 likely unsolicited mail"}
UNSUBSCRIBED = {"reason": "suppress-unsubscribe", "code": 606}


def takes_all(name: str) -> dict[str, Any]:
    """A provider that accepts every message, within this process."""
    return {"name": name, "backend": "anymail.backends.test.EmailBackend", "options": {}}


@pytest.fixture(autouse=True)
def two_providers(settings: Any) -> Iterator[None]:
    with sending_by(settings, takes_all("mailgun"), takes_all("backup")):
        yield


@pytest.fixture(autouse=True)
def events_are_mailgun_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accounts count as Mailgun's, so that Mailgun's events apply to them."""
    monkeypatch.setattr("mail.providers.accounts.Account.esp", property(lambda self: "mailgun"))


def happen(*events: dict[str, Any]) -> None:
    for data in events:
        if taken := ingest.ingest(from_mailgun(data)):
            apply.apply(taken.pk)


def critical(**fields: Any) -> Message:
    message = make_sent_message(Status.QUEUED, importance="critical", **{"provider": "", **fields})
    work_on(message)
    assert (message.status, message.provider) == ("sent", "mailgun")
    return message


def told(message: Message, event: str = "", /, **fields: Any) -> dict[str, Any]:
    """An event about the message's last attempt: a failure unless it is named."""
    attempt = message.attempts.last()
    assert attempt
    return make_event(attempt, event, **fields) if event else failure(attempt, **fields)


def providers_of(message: Message) -> list[str]:
    return list(message.attempts.values_list("provider", flat=True))


# --- delivered, and bounced later -------------------------------------------------------------------------------


def test_a_delayed_soft_bounce_of_critical_mail_alerts_and_it_is_sent_again() -> None:
    message = critical()
    happen(told(message, "delivered"), told(message, **LATER))
    message.refresh_from_db()
    assert (message.status, message.finished_at) == ("queued", None)
    assert Alert.objects.get().kind == "soft_bounce"
    assert Job.objects.filter(kind="mail.send").count() == 1
    work_on(message)
    assert providers_of(message) == ["mailgun", "backup"]
    happen(told(message, "delivered"))
    message.refresh_from_db()
    assert message.status == "delivered"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_it_is_sent_again_whichever_of_delivery_and_bounce_comes_first(order: tuple[int, ...]) -> None:
    message = critical()
    now = timezone.now().timestamp()
    events = [told(message, "delivered", timestamp=now - 300), told(message, **LATER) | {"timestamp": now}]
    happen(*(events[number] for number in order))
    message.refresh_from_db()
    assert message.status == "queued"
    work_on(message)
    assert providers_of(message) == ["mailgun", "backup"]


def test_a_message_whose_body_was_erased_is_not_sent_again() -> None:
    message = critical(expires_at=timezone.now() + timedelta(days=60))
    happen(told(message, "delivered"))
    Message.objects.update(erased_at=timezone.now(), text="")
    happen(told(message, **LATER))
    message.refresh_from_db()
    assert (message.status, Alert.objects.get().kind) == ("bounced", "soft_bounce")


def test_a_second_delayed_soft_bounce_ends_it() -> None:
    message = critical()
    happen(told(message, "delivered"), told(message, **LATER))
    work_on(message)
    happen(told(message, "delivered"), told(message, **LATER))
    message.refresh_from_db()
    assert (message.status, message.failure["class"]) == ("bounced", "soft_bounce")
    assert Alert.objects.filter(kind="soft_bounce").count() == 2


@pytest.mark.parametrize("importance", ["normal", "bulk"])
def test_other_mail_has_bounced_after_a_delayed_soft_bounce(importance: str) -> None:
    message = make_sent_message(importance=importance)
    attempt = make_attempt(message)
    happen(make_event(attempt), failure(attempt, **LATER))
    message.refresh_from_db()
    assert (message.status, Alert.objects.count()) == ("bounced", 0)


def test_a_message_that_another_attempt_delivered_is_not_sent_again() -> None:
    message = critical()
    first = message.attempts.get()
    second = make_attempt(message, provider="backup")
    happen(make_event(second), failure(first, **LATER), failure(first, **UNSUBSCRIBED), failure(first, **BLOCK))
    message.refresh_from_db()
    assert (message.status, Alert.objects.count()) == ("delivered", 0)
    happen(make_event(second, "complained"))
    message.refresh_from_db()
    assert message.status == "complained"


# --- refused by the provider's own list of unsubscriptions ------------------------------------------------------


def test_critical_mail_refused_for_an_unsubscription_alerts_and_is_sent_by_another_provider() -> None:
    message = critical()
    happen(told(message, **UNSUBSCRIBED))
    message.refresh_from_db()
    assert (message.status, Alert.objects.get().kind) == ("queued", "listed_unsubscribe")
    assert (Suppression.objects.get().scope, Suppression.objects.get().source) == ("bulk", "mailgun")
    work_on(message)
    assert (message.status, message.provider) == ("sent", "backup")


def test_the_next_critical_mail_to_that_address_goes_to_the_other_provider() -> None:
    happen(told(critical(), **UNSUBSCRIBED))
    following = make_sent_message(Status.QUEUED, importance="critical")
    work_on(following)
    assert providers_of(following) == ["backup"]
    normal = make_sent_message(Status.QUEUED, importance="normal")
    other = make_sent_message(Status.QUEUED, importance="critical", to="bob@example.org", address="bob@example.org")
    for message in (normal, other):
        work_on(message)
        assert providers_of(message) == ["mailgun"]


def test_a_message_that_every_provider_refuses_is_rejected() -> None:
    message = critical()
    happen(told(message, **UNSUBSCRIBED))
    work_on(message)
    happen(told(message, **UNSUBSCRIBED))
    message.refresh_from_db()
    assert (message.status, message.failure["class"]) == ("rejected", "listed_unsubscribe")
    assert Alert.objects.filter(kind="listed_unsubscribe").count() == 2
    assert providers_of(message) == ["mailgun", "backup"]


def test_the_mail_waits_for_another_provider_and_is_not_given_to_the_same_again() -> None:
    message = critical()
    breakers.pause("backup", timedelta(minutes=20), "enough")
    happen(told(message, **UNSUBSCRIBED))
    job = Job.objects.get(kind="mail.send")
    assert job.run_at > timezone.now() + timedelta(seconds=50)
    assert work_on(message) > 1000
    assert (message.status, providers_of(message)) == ("queued", ["mailgun"])


@pytest.mark.parametrize("importance", ["normal", "bulk"])
def test_other_mail_refused_for_an_unsubscription_is_rejected(importance: str) -> None:
    message = make_sent_message(importance=importance)
    happen(failure(make_attempt(message), **UNSUBSCRIBED))
    message.refresh_from_db()
    assert (message.status, Alert.objects.count()) == ("rejected", 0)


# --- blocked ----------------------------------------------------------------------------------------------------


def test_critical_mail_after_a_block_is_sent_by_another_and_only_once() -> None:
    message = critical()
    happen(told(message, **BLOCK))
    message.refresh_from_db()
    assert (message.status, Alert.objects.get().kind) == ("queued", "blocked")
    work_on(message)
    assert providers_of(message) == ["mailgun", "backup"]
    happen(told(message, **BLOCK))
    message.refresh_from_db()
    assert (message.status, classes(message)) == ("bounced", [("accepted", ""), ("accepted", "")])


def test_yahoo_s_text_for_a_missing_mailbox_is_no_block() -> None:
    said = "delivery error: dd This user doesn't have a yahoo.com account (ada@example.org) [0]"
    for importance in ("critical", "normal", "bulk"):
        message = make_sent_message(importance=importance)
        happen(failure(make_attempt(message), reason="generic", code=554, message=said))
        message.refresh_from_db()
        assert (message.status, message.failure["class"]) == ("bounced", "hard_bounce")
    assert Suppression.objects.get().reason == "bounce"
    assert breakers.slow_until("example.org") is None


def test_an_earlier_complaint_on_the_provider_s_list_is_no_complaint_about_this_message() -> None:
    message = make_sent_message()
    happen(failure(make_attempt(message), reason="suppress-complaint", code=607))
    message.refresh_from_db()
    assert (message.status, message.failure["class"]) == ("rejected", "listed_complaint")
    assert (Suppression.objects.get().reason, Suppression.objects.get().scope) == ("complaint", "all")
    assert not Message.objects.filter(status="complained").exists()
    assert Attempt.objects.count() == 1
