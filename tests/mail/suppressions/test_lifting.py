"""Suppressions of one address are independent, are lifted at the providers too, and compared with their lists."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from jobs.errors import PermanentError, TransientError
from jobs.models import Job
from mail.addresses.normalize import address_digest
from mail.events import apply, ingest
from mail.events.provider_event import from_mailgun
from mail.models import Alert, Lift, Message, Suppression
from mail.privacy.forgetting import forget
from mail.suppressions import lifting, provider_lists
from tests.support.concurrency import until_it_waits
from tests.support.factories import do_all_chores
from tests.support.mail.mailgun_webhooks import ADA, failure, make_attempt, make_event
from tests.support.mail.sending import provider, sending_by
from tests.support.servers.simulator import API_KEY, DOMAIN, Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures", "tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db

SUPPRESSION = f"/api/v1/mail/suppressions/{ADA}/"
AUTH = ("api", API_KEY)


@pytest.fixture
def two_accounts(simulator: Simulator, settings: Any) -> Iterator[Simulator]:
    with sending_by(settings, provider(simulator.api_url), provider(simulator.api_url, "backup")):
        yield simulator


def put(two_accounts: Simulator, name: str, address: str = ADA, **fields: str) -> None:
    url = f"{two_accounts.api_url}/{DOMAIN}/{name}"
    requests.post(url, {"address": address, **fields}, auth=AUTH, timeout=30).raise_for_status()


def is_listed(two_accounts: Simulator, name: str, address: str = ADA) -> bool:
    return requests.get(f"{two_accounts.api_url}/{DOMAIN}/{name}/{address}", auth=AUTH, timeout=30).ok


def happen(*events: dict[str, Any]) -> None:
    for data in events:
        if taken := ingest.ingest(from_mailgun(data)):
            apply.apply(taken.pk)


def run_lifts() -> list[int]:
    return [lifting.lift_at_providers(job.params["lift"]) for job in Job.objects.filter(kind="mail.lift")]


# --- facts kept apart ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [["bounced", "complained"], ["complained", "bounced"]])
def test_a_complaint_survives_the_lifting_of_a_bounce(operator_api: APIClient, order: list[str]) -> None:
    attempt = make_attempt()
    events = {
        "bounced": failure(attempt, code=550, message="5.1.1 no"),
        "complained": make_event(attempt, "complained"),
    }
    happen(*(events[name] for name in order))
    assert operator_api.get(SUPPRESSION).json()["reason"] == "bounce"
    assert operator_api.delete(SUPPRESSION).status_code == 204
    shown = operator_api.get(SUPPRESSION).json()
    assert (shown["reason"], shown["scope"], shown["source"]) == ("complaint", "all", "mailgun")
    assert Suppression.objects.against(ADA, "critical").reason == "complaint"
    assert operator_api.delete(SUPPRESSION).status_code == 204
    assert operator_api.get(SUPPRESSION).status_code == 404


def test_a_complaint_outlasts_a_full_mailbox_and_is_shown_before_it(operator_api: APIClient) -> None:
    Suppression.objects.suppress(ADA, "complaint", "all", None, source="mailgun")
    Suppression.objects.suppress(ADA, "mailbox_full", "all", timezone.now() + timedelta(days=1), source="mailgun")
    assert operator_api.get(SUPPRESSION).json()["reason"] == "complaint"
    assert [shown["reason"] for shown in operator_api.get("/api/v1/mail/suppressions/").json()["results"]] == [
        "complaint"
    ]


def test_mail_that_was_never_sent_is_rejected_and_not_complained_about() -> None:
    happen(failure(make_attempt(), reason="suppress-complaint", code=607))
    message = Message.objects.get()
    assert (message.status, message.failure["class"]) == ("rejected", "listed_complaint")
    assert Suppression.objects.get().reason == "complaint"


# --- lifting at the providers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "name"), [("bounce", "bounces"), ("complaint", "complaints"), ("unsubscribe", "unsubscribes")]
)
def test_a_suppression_that_is_lifted_is_lifted_at_the_provider_too(
    two_accounts: Simulator, operator_api: APIClient, reason: str, name: str
) -> None:
    put(two_accounts, name)
    Suppression.objects.suppress(ADA, reason, "all", None, source="mailgun")
    assert operator_api.delete(SUPPRESSION).status_code == 204
    assert Job.objects.filter(kind="mail.lift").count() == 1
    assert run_lifts() == [1]  # the second account has the same domain, and no such entry any more
    assert not is_listed(two_accounts, name)
    assert Lift.objects.get().done_at


def test_a_suppression_deleted_in_the_admin_is_lifted_at_the_provider_too(two_accounts: Simulator) -> None:
    put(two_accounts, "bounces")
    made = Suppression.objects.suppress(ADA, "bounce", "all", None, source="mailgun")
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    browser.post(f"/admin/mail/suppression/{made.pk}/delete/", {"reason": "their server was down"})
    assert not Suppression.objects.exists()
    run_lifts()
    assert not is_listed(two_accounts, "bounces")


def test_an_expired_suppression_is_lifted_at_the_provider_too(two_accounts: Simulator) -> None:
    put(two_accounts, "bounces", code="552")
    Suppression.objects.suppress(ADA, "mailbox_full", "all", timezone.now(), source="mailgun")
    do_all_chores()
    run_lifts()
    assert not is_listed(two_accounts, "bounces")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time.")
@pytest.mark.django_db(transaction=True)
def test_a_suppression_that_is_being_prolonged_when_it_expires_is_kept() -> None:
    Suppression.objects.suppress(ADA, "mailbox_full", "all", timezone.now(), source="mailgun")
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Suppression.objects.suppress(ADA, "mailbox_full", "all", timezone.now() + timedelta(days=1), source="mailgun")
        lifted = until_it_waits(pool, lifting.lift_expired)
    assert lifted.result() == 0
    assert Suppression.objects.against(ADA, "critical")


def test_a_provider_that_does_not_answer_is_asked_again(two_accounts: Simulator, operator_api: APIClient) -> None:
    put(two_accounts, "bounces")
    Suppression.objects.suppress(ADA, "bounce", "all", None, source="mailgun")
    operator_api.delete(SUPPRESSION)
    two_accounts.fault("503", on="suppressions")
    with pytest.raises(TransientError, match="mailgun"):
        run_lifts()
    assert Lift.objects.get().done_at is None
    run_lifts()
    assert not is_listed(two_accounts, "bounces")


def test_a_key_that_may_not_lift_is_an_alert_and_the_end(two_accounts: Simulator, operator_api: APIClient) -> None:
    Suppression.objects.suppress(ADA, "bounce", "all", None, source="mailgun")
    operator_api.delete(SUPPRESSION)
    two_accounts.fault("401", on="suppressions", times=None)
    for _ in range(2):
        with pytest.raises(PermanentError):
            run_lifts()
    assert Alert.objects.get().kind == "suppressions_not_changeable"


def test_a_rejection_by_the_provider_s_list_does_not_renew_a_suppression_that_is_being_lifted(
    operator_api: APIClient,
) -> None:
    Suppression.objects.suppress(ADA, "bounce", "all", None, source="mailgun")
    operator_api.delete(SUPPRESSION)
    happen(failure(make_attempt(), reason="suppress-bounce", code=605))
    assert not Suppression.objects.exists()
    Lift.objects.update(done_at=timezone.now())
    happen(failure(make_attempt(), reason="suppress-bounce", code=605))
    assert Suppression.objects.get().reason == "bounce"


def test_a_forgotten_person_s_address_is_not_kept_for_a_lift(operator_api: APIClient) -> None:
    Suppression.objects.suppress(ADA, "bounce", "all", None, source="mailgun")
    operator_api.delete(SUPPRESSION)
    forget(ADA)
    assert Lift.objects.get().address == ""
    assert run_lifts() == [0]


# --- comparing the lists -------------------------------------------------------------------------------------------


def test_an_entry_that_only_the_provider_has_is_imported_with_its_source(two_accounts: Simulator) -> None:
    put(two_accounts, "bounces", "gone@example.org", code="550", error="5.1.1 no such user")
    put(two_accounts, "bounces", "full@example.org", code="552", error="5.2.2 mailbox full")
    put(two_accounts, "bounces", "away@example.org", code="450", error="4.2.1 try again later")
    put(two_accounts, "complaints", "angry@example.org")
    put(two_accounts, "unsubscribes", "tired@example.org")
    found = provider_lists.compare()
    assert found == {"read": 10, "imported": 5, "lifted": 0, "unreadable": 0}  # both accounts have the same domain
    facts = Suppression.objects.order_by("address").values_list("address", "reason", "scope", "source")
    assert list(facts) == [
        ("angry@example.org", "complaint", "all", "mailgun"),
        ("away@example.org", "soft_bounces", "all", "mailgun"),
        ("full@example.org", "mailbox_full", "all", "mailgun"),
        ("gone@example.org", "bounce", "all", "mailgun"),
        ("tired@example.org", "unsubscribe", "bulk", "mailgun"),
    ]
    assert Suppression.objects.get(reason="mailbox_full").expires_at > timezone.now()
    assert Suppression.objects.get(reason="soft_bounces").expires_at > timezone.now() + timedelta(days=89)
    assert provider_lists.compare()["imported"] == 0


def test_an_entry_that_was_lifted_here_is_removed_from_the_provider_s_list(two_accounts: Simulator) -> None:
    put(two_accounts, "bounces")
    lift = Lift.objects.create(
        digest=address_digest(ADA), reason="bounce", lifted_at=timezone.now() - timedelta(days=1)
    )
    assert provider_lists.compare()["imported"] == 1  # it has bounced again since then
    Suppression.objects.all().delete()
    Lift.objects.filter(pk=lift.pk).update(lifted_at=timezone.now() + timedelta(seconds=1))
    assert provider_lists.compare()["lifted"] == 1
    assert not is_listed(two_accounts, "bounces")
    assert not Suppression.objects.exists()


@pytest.mark.parametrize("by", ["expiry", "an operator"])
def test_a_lifted_suppression_of_a_forgotten_person_is_not_imported_again(
    two_accounts: Simulator, operator_api: APIClient, by: str
) -> None:
    put(two_accounts, "bounces", code="552")
    expires_at = timezone.now() + timedelta(days=1)
    Suppression.objects.suppress(ADA, "mailbox_full", "all", expires_at, source="mailgun")
    forget(ADA)
    if by == "expiry":
        Suppression.objects.update(expires_at=timezone.now())
        lifting.lift_expired()
    else:
        assert operator_api.delete(SUPPRESSION).status_code == 204
    assert not Job.objects.filter(kind="mail.lift").exists()  # a job has no address to lift
    found = provider_lists.compare()
    assert (found["imported"], found["lifted"]) == (0, 1)
    assert not is_listed(two_accounts, "bounces")
    assert not Suppression.objects.exists()


def test_long_lists_are_read_page_by_page(two_accounts: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_lists, "PER_PAGE", 3)
    for number in range(8):
        put(two_accounts, "complaints", f"a{number}@example.org")
    assert provider_lists.compare()["imported"] == 8


def test_an_import_does_not_store_the_address_of_a_forgotten_person(two_accounts: Simulator) -> None:
    put(two_accounts, "bounces")
    Suppression.objects.suppress(ADA, "complaint", "all", None, source="mailgun")
    forget(ADA)
    assert provider_lists.compare()["imported"] == 1
    assert set(Suppression.objects.values_list("reason", "address")) == {("complaint", ""), ("bounce", "")}


def test_lists_that_may_not_be_read_are_an_alert_and_those_that_cannot_are_tried_again(two_accounts: Simulator) -> None:
    two_accounts.fault("503", on="suppressions")
    with pytest.raises(TransientError, match="mailgun"):
        provider_lists.compare()
    two_accounts.fault("401", on="suppressions", times=None)
    assert provider_lists.compare()["read"] == 0
    assert set(Alert.objects.values_list("kind", "provider")) == {
        ("suppressions_not_readable", "mailgun"),
        ("suppressions_not_readable", "backup"),
    }


def test_the_comparison_of_lists_is_registered() -> None:
    make_attempt()
    do_all_chores()
    assert Job.objects.filter(kind="mail.compare_lists").count() == 1
