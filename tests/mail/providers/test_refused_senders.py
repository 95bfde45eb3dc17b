"""Senders that a provider refuses: their mail waits, and only several of them in a row speak against the account."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mail.models import Provider, RefusedSender
from mail.providers import breakers, refused_senders, select
from mail.providers.refused_senders import FORGET_AFTER, record_acceptance, record_refusal, refused_until
from tests.support.mail.sending import NOBODY, provider, sending_by

pytestmark = pytest.mark.django_db

SENDER = "Ada <Ada@One.example>"


@pytest.fixture(autouse=True)
def two(settings: Any) -> Iterator[None]:
    with sending_by(settings, provider(NOBODY, "first"), provider(NOBODY, "second")):
        yield


def refuse(sender: str = SENDER, *, probing: bool = False) -> bool:
    return record_refusal("first", sender, "not verified", probing=probing)


def chosen(sender: str) -> str | None:
    found = select.choose("normal", sender=sender)
    return found and found.name


def test_only_the_refused_sender_is_kept_from_the_provider() -> None:
    refuse()
    assert chosen("ada@one.example") == "second"
    assert chosen("bob@one.example") == "first"
    assert chosen("ada@two.example") == "first"


def test_each_refusal_in_a_row_lasts_twice_as_long(settings: Any) -> None:
    settings.MAIL_PROBE_AFTER = 30
    for seconds in (30, 60, 120):
        refuse()
        until = refused_until("first", SENDER)
        assert until
        assert abs((until - timezone.now()).total_seconds() - seconds) < 20


def test_an_acceptance_ends_the_refusal() -> None:
    refuse()
    assert not record_acceptance("first", ["bob@two.example"])
    assert record_acceptance("first", ["bob@two.example", "ada@one.example"])
    assert refused_until("first", SENDER) is None
    assert not RefusedSender.objects.exists()


def test_many_addresses_of_one_domain_do_not_open_the_breaker() -> None:
    assert not any(refuse(f"user{number}@one.example") for number in range(10))
    assert not Provider.objects.get().opened_at


def test_refused_domains_with_successes_in_between_do_not_open_the_breaker() -> None:
    for number in range(10):
        assert not refuse(f"ada@{number}.example")
        breakers.record_success("first")
    assert not Provider.objects.get().opened_at


def test_the_breaker_opens_when_the_senders_of_several_domains_are_refused_in_a_row() -> None:
    assert [refuse(f"ada@{number}.example") for number in range(4)] == [False, False, True, False]
    assert "senders of 3 domains" in Provider.objects.get().reason
    assert chosen("ada@another.example") == "second"


def test_a_probe_whose_sender_is_refused_lets_another_sender_probe() -> None:
    breakers.record_failure("first", "401", at_once=True)
    Provider.objects.update(open_until=timezone.now() - timedelta(seconds=1))
    breakers.invalidate_cache()
    assert chosen(SENDER) == "first"
    refuse(probing=True)
    found = select.choose("normal", sender="bob@two.example")
    assert found
    assert (found.name, found.probing) == ("first", True)


def test_old_refusals_are_forgotten() -> None:
    refuse()
    assert refused_senders.delete_old() == 0
    RefusedSender.objects.update(refused_at=timezone.now() - FORGET_AFTER * 2)
    assert refused_senders.delete_old() == 1
