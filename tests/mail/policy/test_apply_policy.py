"""Consequences of decisions: suppressions and their precedence, strikes, alerts, mail that is sent again."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.models import Job
from mail import alerts
from mail.failure import Failure, FailureClass
from mail.models import Alert, Attempt, DomainBlock, Message, Provider, Slowdown, Strike, Suppression
from mail.policy import apply_policy
from mail.providers import breakers
from mail.reasons import Reason, Scope
from tests.support.claims import claim_jobs
from tests.support.factories import do_all_chores
from tests.support.mail.messages import make_message
from tests.support.mail.sending import NOBODY, provider, sending_by
from tests.support.servers.simulator import Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]
pytestmark = pytest.mark.django_db

ADA = "ada@example.org"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def one_provider(settings: Any) -> Iterator[None]:
    with sending_by(settings, provider(NOBODY)):
        yield


def handle_reported_failure(kind: FailureClass, status: str = "sent", **fields: Any) -> Message:
    message = make_message(status, provider="mailgun", sent_at=timezone.now(), **fields)
    Attempt.objects.create(message=message, provider="mailgun", outcome="accepted", finished_at=timezone.now())
    apply_policy.handle_reported_failure(message, Failure(kind, "it was so"), provider="mailgun")
    message.refresh_from_db()
    return message


@pytest.mark.parametrize(
    ("kind", "status", "reason", "scope"),
    [
        ("hard_bounce", "bounced", "bounce", "all"),
        ("complaint", "complained", "complaint", "all"),
        ("unsubscribed", "sent", "unsubscribe", "bulk"),
        ("mailbox_full", "bounced", "mailbox_full", "all"),
    ],
)
def test_an_address_is_suppressed_for_what_it_did(kind: str, status: str, reason: str, scope: str) -> None:
    message = handle_reported_failure(FailureClass(kind))
    found = Suppression.objects.get()
    assert (message.status, found.reason, found.scope, found.address) == (status, reason, scope, ADA)
    assert bool(found.expires_at) == (kind == "mailbox_full")
    assert found.source == "mailgun"


def blocked(*addresses: str) -> None:
    for address in addresses:
        handle_reported_failure(FailureClass.BLOCKED, address=address, to=address)


def test_one_block_slows_nobody_down_and_suppresses_nobody() -> None:
    message = handle_reported_failure(FailureClass.BLOCKED)
    assert (message.status, Suppression.objects.count()) == ("bounced", 0)
    assert breakers.slow_until("example.org") is None
    assert [alert.kind for alert in Alert.objects.all()] == ["blocked"]


def test_several_blocked_addresses_slow_their_domain_down() -> None:
    blocked("ada@example.org", "bob@example.org", "eve@example.com")
    assert breakers.slow_until("example.org") is None
    blocked("eve@example.org")
    assert breakers.slow_until("example.org")
    assert breakers.slow_until("example.com") is None
    assert Alert.objects.filter(kind="domain_slowed_down").count() == 1


def test_one_address_that_is_blocked_again_and_again_slows_nobody_down() -> None:
    blocked(*["ada@example.org"] * 6)
    assert breakers.slow_until("example.org") is None


def test_blocks_that_lie_far_apart_slow_nobody_down() -> None:
    blocked("ada@example.org", "bob@example.org")
    DomainBlock.objects.update(at=timezone.now() - timedelta(hours=2))
    blocked("eve@example.org")
    assert breakers.slow_until("example.org") is None
    assert breakers.delete_old_blocks() == 2


def test_a_slowdown_is_not_extended_by_further_blocks() -> None:
    blocked("ada@example.org", "bob@example.org", "eve@example.org")
    until = breakers.slow_until("example.org")
    blocked("fay@example.org", "gus@example.org")
    assert breakers.slow_until("example.org") == until
    Slowdown.objects.update(until=timezone.now())
    breakers.invalidate_cache()
    assert breakers.slow_until("example.org") is None
    breakers.delete_old_blocks()
    assert not Slowdown.objects.exists()


def test_critical_mail_that_was_blocked_is_sent_by_another_provider(settings: Any) -> None:
    assert handle_reported_failure(FailureClass.BLOCKED, importance="critical").status == "bounced"
    with sending_by(settings, provider(NOBODY), provider(NOBODY, "backup")):
        assert handle_reported_failure(FailureClass.BLOCKED, importance="critical").status == "queued"
        assert handle_reported_failure(FailureClass.BLOCKED, importance="normal").status == "bounced"
    assert Alert.objects.filter(kind="blocked").count() == 3


@pytest.mark.parametrize(("listed", "reason"), [("complaint", "complaint"), ("bounce", "bounce")])
def test_mail_that_the_provider_s_list_stopped_is_rejected_not_bounced(listed: str, reason: str) -> None:
    message = handle_reported_failure(FailureClass(f"listed_{listed}"))
    assert (message.status, message.failure["class"]) == ("rejected", f"listed_{listed}")
    assert (Suppression.objects.get().reason, Suppression.objects.get().scope) == (reason, "all")


def test_three_soft_bounces_in_a_row_over_two_weeks_suppress() -> None:
    for _ in range(2):
        handle_reported_failure(FailureClass.SOFT_BOUNCE)
    Strike.objects.update(at=timezone.now() - 15 * DAY)
    assert not Suppression.objects.exists()
    handle_reported_failure(FailureClass.SOFT_BOUNCE)
    assert Suppression.objects.get().reason == Reason.SOFT_BOUNCES


def test_a_delivery_clears_the_strikes() -> None:
    for _ in range(2):
        handle_reported_failure(FailureClass.SOFT_BOUNCE)
    Strike.objects.update(at=timezone.now() - 15 * DAY)
    apply_policy.clear_strikes("Ada@Example.org")
    handle_reported_failure(FailureClass.SOFT_BOUNCE)
    assert not Suppression.objects.exists()


def test_critical_mail_that_bounced_softly_is_sent_once_more() -> None:
    message = handle_reported_failure(FailureClass.SOFT_BOUNCE, importance="critical")
    assert message.status == "queued"
    job = Job.objects.get(kind="mail.send")
    assert (job.pk, job.params) == (message.job_id, {"message": str(message.pk)})
    assert job.run_at > timezone.now()
    Attempt.objects.create(message=message, provider="mailgun", outcome="accepted", finished_at=timezone.now())
    Message.objects.filter(pk=message.pk).update(status="sent")
    apply_policy.handle_reported_failure(message, Failure(FailureClass.SOFT_BOUNCE, "again"), provider="mailgun")
    message.refresh_from_db()
    assert message.status == "bounced"


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (("mailbox_full", "all", 1), ("bounce", "all", None), "bounce"),
        (("bounce", "all", None), ("mailbox_full", "all", 1), "bounce"),
        (("unsubscribe", "bulk", None), ("manual", "bulk", 1), "unsubscribe"),
        (("manual", "bulk", 1), ("unsubscribe", "bulk", None), "unsubscribe"),
        (("mailbox_full", "all", 1), ("soft_bounces", "all", 90), "soft_bounces"),
        (("soft_bounces", "all", 90), ("mailbox_full", "all", 1), "soft_bounces"),
        (("soft_bounces", "all", -1), ("mailbox_full", "all", 1), "mailbox_full"),
    ],
)
def test_of_several_suppressions_of_one_scope_the_longest_is_shown(before: Any, after: Any, kept: str) -> None:
    for reason, scope, days in (before, after):
        until = None if days is None else timezone.now() + days * DAY
        Suppression.objects.suppress(ADA, reason, Scope(scope), until, source="test")
    assert Suppression.objects.shown().get().reason == kept


@pytest.mark.parametrize("order", [["unsubscribe", "soft_bounces"], ["soft_bounces", "unsubscribe"]])
def test_an_unsubscription_and_a_wider_temporary_suppression_are_both_kept(order: list[str]) -> None:
    said = {"unsubscribe": ("bulk", None), "soft_bounces": ("all", timezone.now() + 90 * DAY)}
    for reason in order:
        Suppression.objects.suppress(ADA, reason, *said[reason], source="test")
    assert Suppression.objects.against(ADA, "normal").reason == "soft_bounces"
    assert Suppression.objects.shown().get().reason == "soft_bounces"
    Suppression.objects.filter(scope="all").update(expires_at=timezone.now())
    assert Suppression.objects.against(ADA, "normal") is None
    assert Suppression.objects.shown().get().reason == Suppression.objects.against(ADA, "bulk").reason == "unsubscribe"


def test_a_fault_of_the_account_opens_the_breaker_and_alerts_once_that_it_is_open() -> None:
    for _ in range(3):
        message = make_message("sending")
        failure = Failure(FailureClass.ACCOUNT, "the provider answered 401: Forbidden")
        apply_policy.apply_policy(message, failure, provider="mailgun", excluded={"mailgun"})
    assert Provider.objects.get().opened_at
    assert Alert.objects.filter(kind="provider_open").count() == 1
    assert Alert.objects.filter(kind="account").count() == 3


def test_an_alert_masks_its_address(caplog: pytest.LogCaptureFixture) -> None:
    alerts.alert("blocked", "spam", message=make_message())
    assert "a***@example.org" in caplog.text
    assert "ada@" not in caplog.text


def test_alerts_of_a_kind_are_sent_together_and_seldom(settings: Any, simulator: Simulator) -> None:
    settings.MAIL_ALERT_TO = "ops@example.org"
    with sending_by(settings, provider(NOBODY), provider(simulator.api_url, "backup")):
        for number in range(15):
            alerts.alert("blocked", f"block {number}")
        alerts.alert("account", "401")
        jobs = Job.objects.filter(kind="mail.alert")
        assert sorted(job.params["kind"] for job in jobs) == ["account", "blocked"]
        assert alerts.send_unsent("blocked") == 15
        assert alerts.send_unsent("blocked") == 0
    [mail] = simulator.messages()
    text = simulator.message(mail["id"])["text"]
    assert "block 0" in text
    assert "and 5 more" in text

    jobs.all().delete()
    alerts.alert("blocked", "once more")
    assert jobs.get().run_at > timezone.now() + timedelta(minutes=9)


def test_an_alert_that_comes_during_a_notification_is_sent_later(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAIL_ALERT_TO = "https://hooks.example.org/x"
    alerts.alert("blocked", "first")
    [job] = claim_jobs("here:1")
    with monkeypatch.context() as patched:
        patched.setattr(alerts, "_post", lambda *_: alerts.alert("blocked", "meanwhile"))
        assert alerts.send_unsent("blocked") == 1
    job.succeed(None)
    alerts.submit_unsent()
    again = Job.objects.get(kind="mail.alert", status="scheduled")
    assert again.run_at > timezone.now() + timedelta(minutes=9)
    monkeypatch.setattr(alerts, "_post", lambda *_: None)
    assert alerts.send_unsent("blocked") == 1
    again.delete()
    alerts.submit_unsent()
    assert not Job.objects.filter(status="scheduled").exists()


def test_an_alert_older_than_a_day_is_not_sent(settings: Any) -> None:
    alerts.alert("blocked", "long ago")
    Alert.objects.update(at=timezone.now() - 2 * DAY)
    settings.MAIL_ALERT_TO = "https://hooks.example.org/x"
    alerts.submit_unsent()
    assert not Job.objects.exists()
    assert alerts.send_unsent("blocked") == 0


def test_old_alerts_are_forgotten() -> None:
    for days in (1, 29, 31):
        alerts.alert("blocked", f"{days}")
        Alert.objects.filter(detail=days).update(at=timezone.now() - days * DAY)
    do_all_chores()
    assert sorted(Alert.objects.values_list("detail", flat=True)) == ["1", "29"]


def test_nothing_is_sent_without_a_recipient_of_alerts() -> None:
    alerts.alert("blocked", "spam")
    assert not Job.objects.exists()
    assert alerts.send_unsent("blocked") == 0
