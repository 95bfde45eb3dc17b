"""Sending one message by real HTTP to a simulator that fails on demand: what its job does, run by run."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from demo.eventually import eventually
from mail.api.fields import MAX_ENVELOPE_BYTES, envelope_size
from mail.failure import FailureClass
from mail.models import Alert, Attempt, Event, Message, Provider, Suppression
from mail.policy import decision, rules
from mail.providers import breakers
from mail.reasons import Reason
from mail.sending.send import LISTED_AS
from mail.status import Status
from tests.support.factories import do_all_chores
from tests.support.mail.messages import make_message
from tests.support.mail.sending import NOBODY, classes, provider, sending_by, work_on, work_until_it_rests
from tests.support.servers.simulator import DOMAIN, Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]
pytestmark = pytest.mark.django_db

HOUR = 3600

FOR_ALL = pytest.mark.parametrize("importance", ["critical", "normal", "bulk"])


@pytest.fixture(autouse=True)
def _probed_soon(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_PROBE_AFTER = 0.2


@FOR_ALL
def test_a_message_is_sent_by_one_call(mailgun: Simulator, importance: str) -> None:
    message = make_message(importance=importance, html="<p>There</p>", tags=["one", "two"])
    assert work_on(message) == 0

    assert (message.status, message.provider) == ("sent", "mailgun")
    assert message.sent_at
    assert (message.attempts.get().service, message.attempts.get().domain) == ("mailgun", DOMAIN)
    attempt = message.attempts.get()
    assert (attempt.outcome, attempt.provider) == ("accepted", "mailgun")
    [mail] = mailgun.messages()
    sent = mailgun.message(attempt.provider_message_id)
    assert mail["id"] == attempt.provider_message_id.strip("<>")
    assert (sent["subject"], sent["text"], sent["html"]) == ("Hi", "There", "<p>There</p>")
    assert sent["variables"] == {"attempt_id": str(attempt.pk), "message_id": str(message.pk)}


def test_the_provider_takes_as_many_header_fields_as_a_message_may_have(mailgun: Simulator) -> None:
    tags, reply_to = ["t" * 128] * 3, ["Ada <ada@example.org>"] * 10
    headers = {f"X-{number}": "z" * 900 for number in range(15)}
    headers["X-Last"] = "z" * (MAX_ENVELOPE_BYTES - envelope_size(headers | {"X-Last": ""}, tags, reply_to))
    message = make_message(importance="bulk", headers=headers, tags=tags, reply_to=reply_to)
    work_on(message)
    assert (envelope_size(headers, tags, reply_to), message.status) == (MAX_ENVELOPE_BYTES, "sent")


def test_an_accepted_message_is_not_sent_again(mailgun: Simulator) -> None:
    message = make_message()
    for _ in range(3):
        work_on(message)
    assert mailgun.account(message.pk)["calls"] == 1


@pytest.mark.parametrize("status", ["cancelled", "sent", "delivered", "bounced", "failed"])
def test_only_pending_messages_are_sent(mailgun: Simulator, status: str) -> None:
    message = make_message(status)
    assert work_on(message) == 0
    assert (message.status, mailgun.account(message.pk)["calls"]) == (status, 0)


def test_the_job_of_a_deleted_message_ends() -> None:
    message = make_message()
    Message.objects.filter(pk=message.pk).delete()
    with pytest.raises(Message.DoesNotExist):
        work_on(message)


@FOR_ALL
def test_an_expired_message_is_not_sent(mailgun: Simulator, importance: str) -> None:
    message = make_message(expires_at=timezone.now(), importance=importance)
    assert work_on(message) == 0
    assert (message.status, mailgun.account(message.pk)["calls"]) == ("expired", 0)
    assert Alert.objects.filter(kind="expired").exists() == (importance == "critical")


@pytest.mark.parametrize(
    ("scope", "importance", "status"),
    [
        ("all", "critical", "suppressed"),
        ("all", "normal", "suppressed"),
        ("all", "bulk", "suppressed"),
        ("bulk", "bulk", "suppressed"),
        ("bulk", "normal", "sent"),
        ("bulk", "critical", "sent"),
    ],
)
def test_mail_to_a_suppressed_address_is_not_sent(mailgun: Simulator, scope: str, importance: str, status: str) -> None:
    Suppression.objects.suppress("Ada@Example.org", "complaint", scope, None, source="mailgun")
    message = make_message(importance=importance)
    work_on(message)
    assert (message.status, mailgun.account(message.pk)["calls"]) == (status, int(status == "sent"))


@pytest.mark.parametrize("reason", Reason)
def test_a_suppression_is_looked_for_before_every_attempt(mailgun: Simulator, reason: Reason) -> None:
    message = make_message()
    mailgun.fault("429", seconds=0)
    assert work_on(message) > 0
    Suppression.objects.suppress(message.address, reason, "all", None, source="mailgun")
    work_on(message)
    assert (message.status, len(classes(message)), message.failure["class"]) == ("suppressed", 1, LISTED_AS[reason])


def test_critical_mail_whose_address_is_suppressed_between_attempts_causes_an_alert(mailgun: Simulator) -> None:
    critical, normal = make_message(importance="critical"), make_message()
    never_tried = make_message(importance="critical")
    mailgun.fault("429", times=2, seconds=0)
    for message in (critical, normal):
        assert work_on(message) > 0
    Suppression.objects.suppress(critical.address, "bounce", "all", None, source="mailgun")
    for message in (critical, normal, never_tried):
        work_on(message)
        assert message.status == "suppressed"
    [alert] = Alert.objects.all()
    assert (alert.kind, alert.message) == ("suppressed", critical)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("timeout-before", "ambiguous"),
        ("timeout-after", "ambiguous"),
        ("drop-before", "ambiguous"),
        ("drop", "ambiguous"),
        ("truncated", "ambiguous"),
        *((f"{code}{more}", "ambiguous") for code in (500, 502, 503, 504) for more in ("", "-accepted")),
        ("429", "throttled"),
        ("400", "invalid"),
        ("413", "invalid"),
        *((code, "account") for code in ("401", "402")),
        *((code, "sender") for code in ("403", "404")),
        ("html", "configuration"),
    ],
)
def test_an_answer_is_recorded_with_its_outcome_and_class(
    mailgun: Simulator, settings: Any, fault: str, failure: str
) -> None:
    outcomes = {"ambiguous": "ambiguous", "throttled": "transient"}
    message = make_message()
    meet(mailgun, fault, message, settings)
    assert classes(message) == [(outcomes.get(failure, "permanent"), failure)]


@pytest.mark.parametrize("importance", ["normal", "bulk"])
@pytest.mark.parametrize("fault", ["timeout-after", "drop", "truncated", "500-accepted", "503-accepted"])
def test_an_ambiguous_attempt_that_was_accepted_is_found_and_not_sent_again(
    mailgun: Simulator, settings: Any, fault: str, importance: str
) -> None:
    message = make_message(importance=importance)
    meet(mailgun, fault, message, settings)
    work_until_it_rests(message)

    assert message.status == Status.SENT
    assert mailgun.account(message.pk)["accepted"] == mailgun.account(message.pk)["calls"] == 1
    assert classes(message) == [("accepted", "")]
    assert message.attempts.get().provider_message_id
    assert message.events.filter(source=Event.Source.OURS, type="found").exists()
    assert message.events.filter(source=Event.Source.LOOKUP, type="accepted").exists()


@pytest.mark.parametrize("importance", ["normal", "bulk"])
@pytest.mark.parametrize("fault", ["timeout-before", "drop-before", "500", "503"])
def test_an_ambiguous_attempt_that_was_not_accepted_is_sent_again_once_that_is_certain(
    mailgun: Simulator, settings: Any, fault: str, importance: str
) -> None:
    message = make_message(importance=importance)
    meet(mailgun, fault, message, settings)
    work_until_it_rests(message)

    assert message.status == Status.SENT
    assert mailgun.accepted(message.pk) == 1
    assert classes(message) == [("transient", "unreachable"), ("accepted", "")]
    first, second = message.attempts.all()
    assert second.started_at - first.started_at >= timedelta(seconds=1)


def test_critical_mail_prefers_a_duplicate_to_a_delay(
    mailgun: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_hurry(monkeypatch)
    settings.MAIL_SETTLED_AFTER = timedelta(minutes=30)
    mailgun.configure(index_delay=HOUR)
    message = make_message(importance="critical")
    meet(mailgun, "timeout-after", message, settings)
    work_until_it_rests(message)

    assert (message.status, mailgun.accepted(message.pk)) == ("sent", 2)
    assert message.possible_duplicate


def test_a_duplicate_is_possible_once_the_second_attempt_begins(
    mailgun: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_hurry(monkeypatch)
    settings.MAIL_SETTLED_AFTER = timedelta(minutes=30)
    mailgun.configure(index_delay=HOUR)
    message = make_message(importance="critical")
    mailgun.fault("500-accepted")
    work_on(message)
    Attempt.objects.update(started_at=timezone.now() - timedelta(minutes=1))
    breakers.pause("mailgun", timedelta(hours=1), "enough")
    for _ in range(3):
        assert work_on(message) > 0
    assert (message.possible_duplicate, message.events.count()) == (False, 0)
    Provider.objects.all().delete()
    breakers.invalidate_cache()
    work_on(message)
    assert (message.status, message.possible_duplicate) == ("sent", True)
    assert message.events.get().type == "possible_duplicate"


def test_a_provider_that_cannot_be_asked_now_is_asked_later(
    mailgun: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the attempt is ambiguous, normal mail is not sent again."""
    monkeypatch.setattr(decision, "SHORTEST_LOOKUP_WAIT", timedelta(seconds=0.1))
    mailgun.fault("500-accepted")
    mailgun.fault("500", times=2, on="events")
    message = work_until_it_rests(make_message())
    assert (message.status, mailgun.accepted(message.pk)) == ("sent", 1)


def test_a_pause_is_as_long_as_the_provider_asks_for(mailgun: Simulator) -> None:
    mailgun.fault("429", seconds=HOUR / 2)
    message = make_message()
    assert 0.45 * HOUR < work_on(message) < 0.6 * HOUR
    assert breakers.state_of("mailgun").paused_until
    assert 0.45 * HOUR < work_on(message) < 0.6 * HOUR
    assert (message.status, classes(message)) == ("queued", [("transient", "throttled")])


@pytest.mark.parametrize("importance", ["normal", "bulk"])
def test_mailgun_s_420_is_a_pause_until_the_date_that_it_names(
    mailgun: Simulator, settings: Any, importance: str
) -> None:
    mailgun.fault("420", seconds=HOUR / 2)
    with sending_by(settings, provider(mailgun.api_url), provider(mailgun.api_url, "backup")):
        message = make_message(importance=importance)
        wait = work_on(message)
    assert not Provider.objects.filter(opened_at__isnull=False).exists()
    left = Provider.objects.get(name="mailgun").paused_until - timezone.now()
    assert timedelta(minutes=28) < left < timedelta(minutes=31)
    if importance == "bulk":
        assert (message.status, Attempt.objects.count()) == ("queued", 1)
        assert 0.45 * HOUR < wait < 0.6 * HOUR
    else:
        assert (message.status, message.provider) == ("sent", "backup")


@FOR_ALL
def test_a_recipient_that_a_sandbox_refuses_does_not_open_the_breaker(
    mailgun: Simulator, settings: Any, importance: str
) -> None:
    mailgun.fault("sandbox", times=2)
    message = make_message(importance=importance)
    work_on(message)
    assert (message.status, message.failure["class"]) == ("rejected", "not_permitted")
    with sending_by(settings, provider(mailgun.api_url), provider(mailgun.api_url, "backup")):
        message = make_message(importance=importance)
        work_on(message)
    assert (message.status, message.provider) == ("sent", "backup")
    assert not Provider.objects.filter(opened_at__isnull=False).exists()
    assert {alert.kind for alert in Alert.objects.all()} == {"not_permitted"}


def test_an_invalid_message_is_rejected(mailgun: Simulator) -> None:
    mailgun.fault("400")
    message = make_message(importance="critical")
    assert work_on(message) == 0
    assert message.status == "rejected"
    assert message.failure["class"] == "invalid"
    assert not Suppression.objects.exists()
    assert Alert.objects.get().kind == "invalid"


@pytest.mark.parametrize("fault", ["401", "html"])
def test_a_provider_that_denies_access_is_not_called_until_a_probe_succeeds(mailgun: Simulator, fault: str) -> None:
    mailgun.fault(fault)
    message = make_message()
    assert work_on(message) > 0
    assert Provider.objects.get().opened_at
    assert {alert.kind for alert in Alert.objects.all()} == {"provider_open", classes(message)[0][1]}

    work_until_it_rests(message)
    assert (message.status, mailgun.accepted(message.pk)) == ("sent", 1)
    assert not Provider.objects.get().opened_at


def test_the_next_provider_takes_over_from_one_whose_backend_does_not_exist(mailgun: Simulator, settings: Any) -> None:
    mistyped = provider(NOBODY, "sendgird", backend="anymail.backends.sendgird.EmailBackend")
    with sending_by(settings, mistyped, provider(mailgun.api_url)):
        work_on(message := make_message())
    assert (message.status, message.provider) == ("sent", "mailgun")
    assert classes(message) == [("permanent", "configuration"), ("accepted", "")]
    assert Alert.objects.filter(kind="configuration").exists()


def test_a_message_that_cannot_be_built_is_rejected(mailgun: Simulator) -> None:
    message = make_message(headers=["not a mapping"])
    assert work_on(message) == 0
    assert (message.status, classes(message)) == ("rejected", [("permanent", "invalid")])
    assert mailgun.account(message.pk)["calls"] == 0


def test_the_second_provider_takes_over_within_the_run(mailgun: Simulator, settings: Any) -> None:
    with sending_by(settings, provider(NOBODY), provider(mailgun.api_url, "backup")):
        message = make_message()
        assert work_on(message) == 0
    assert (message.status, message.provider) == ("sent", "backup")
    assert [attempt.provider for attempt in message.attempts.all()] == ["mailgun", "backup"]
    assert classes(message) == [("transient", "unreachable"), ("accepted", "")]


def test_a_provider_that_fails_again_and_again_is_passed_over_until_it_works(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_PROBE_AFTER = HOUR
    with sending_by(settings, provider(NOBODY), provider(mailgun.api_url, "backup")):
        messages = [make_message() for _ in range(8)]
        for message in messages:
            work_on(message)
        assert {message.status for message in messages} == {"sent"}
        assert Attempt.objects.filter(provider="mailgun").count() == breakers.FAILURES_IN_A_ROW
        assert [alert.kind for alert in Alert.objects.all()] == ["provider_open"]
    Provider.objects.update(open_until=timezone.now())
    with sending_by(settings, provider(mailgun.api_url), provider(mailgun.api_url, "backup")):
        for _ in range(2):
            work_on(message := make_message())
            assert message.provider == "mailgun"
    assert not Provider.objects.get(name="mailgun").opened_at


def test_an_ambiguous_attempt_is_never_followed_by_one_of_another_provider(mailgun: Simulator, settings: Any) -> None:
    with sending_by(settings, provider(mailgun.api_url), provider(mailgun.api_url, "backup")):
        mailgun.fault("500-accepted")
        message = work_until_it_rests(make_message())
    assert (message.provider, mailgun.accepted(message.pk)) == ("mailgun", 1)


def test_bulk_mail_waits_for_a_provider_that_asks_for_a_pause(mailgun: Simulator, settings: Any) -> None:
    with sending_by(settings, provider(mailgun.api_url), provider(mailgun.api_url, "backup")):
        breakers.pause("mailgun", timedelta(hours=1), "enough")
        work_on(normal := make_message())
        assert work_on(bulk := make_message(importance="bulk")) > 0.9 * HOUR
    assert (normal.provider, bulk.status) == ("backup", "queued")


def test_scheduled_mail_is_queued_when_it_is_due(mailgun: Simulator) -> None:
    breakers.slow_domain("example.org", timedelta(hours=1))
    past, ahead = timezone.now(), timezone.now() + timedelta(hours=1)
    tried, due, later = (make_message("scheduled", send_at=moment, importance="bulk") for moment in (past, past, ahead))
    assert work_on(tried) > 0
    assert tried.status == "queued"
    do_all_chores()
    assert [Message.objects.get(pk=each.pk).status for each in (due, later)] == ["queued", "scheduled"]


def test_a_domain_that_blocks_us_gets_no_bulk_mail_for_a_while(mailgun: Simulator) -> None:
    breakers.slow_domain("example.org", timedelta(hours=1))
    waits = {importance: work_on(make_message(importance=importance)) for importance in ("critical", "normal", "bulk")}
    assert waits["critical"] == waits["normal"] == 0
    assert waits["bulk"] > 0.9 * HOUR
    assert work_on(make_message(address="ada@example.com", to="ada@example.com", importance="bulk")) == 0


def meet(mailgun: Simulator, fault: str, message: Message, settings: Any) -> None:
    """Run the message's job into this fault; with a short timeout where no answer will come."""
    mailgun.fault(fault)
    patient = settings.MAIL_TIMEOUT
    if fault.startswith("timeout"):
        settings.MAIL_TIMEOUT = (60, 0.3)
    work_on(message)
    settings.MAIL_TIMEOUT = patient
    eventually(lambda: mailgun.account(message.pk)["calls"], 60, "the call being counted")


def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Critical mail stays ambiguous for half a second only; the real time is tested with the policy."""
    critical, *others = rules.TABLE[FailureClass.AMBIGUOUS]
    row = (replace(critical, duplicate_after=timedelta(seconds=0.5)), *others)
    monkeypatch.setattr(rules, "TABLE", rules.TABLE | {FailureClass.AMBIGUOUS: row})
