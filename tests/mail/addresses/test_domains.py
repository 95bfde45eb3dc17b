"""Whether a domain takes mail, by DNS, as POST mail/messages/ asks it."""

from threading import Barrier, Event
from typing import Any

import dns.resolver
import pytest
from dns.resolver import NXDOMAIN, LifetimeTimeout, NoAnswer, NoNameservers
from rest_framework.test import APIClient

from mail.addresses import domains
from mail.models import Message
from tests.support.api_clients import assert_problem
from tests.support.mail.messages import MINIMAL, post, post_batch
from tests.support.timeouts import PATIENCE

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db


class Resolver:
    """Answers like DNS for a few names, with records or with the exceptions that a resolver raises."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def resolve(self, domain: str, kind: str) -> Any:
        self.asked.append((domain, kind))
        match domain.partition(".")[0], kind:
            case ("good", "MX"):
                return [Record(preference=10, exchange="mx.good.example.")]
            case ("null", "MX"):
                return [Record(preference=0, exchange=".")]
            case ("address" | "silent", "A"):
                return [Record(address="9.9.9.9")]
            case ("inside", "AAAA"):
                return [Record(address="fd00::1")]
            case ("silent", "TXT"):
                return [Record(strings=[b"v=spf1 -all"])]
            case ("gmial" | "nowhere", _):
                raise NXDOMAIN
            case ("slow", _):
                raise LifetimeTimeout(timeout=2, errors=[])
            case ("broken", _):
                raise NoNameservers
            case ("odd", _):
                raise OSError("the network is odd")
            case _:
                raise NoAnswer


class Record:
    def __init__(self, **fields: Any) -> None:
        self.__dict__ |= fields


@pytest.fixture
def resolver(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    settings.MAIL_CHECK_DNS = True
    monkeypatch.setattr(domains, "_verdicts", {})
    found = Resolver()
    monkeypatch.setattr(domains, "_resolver", lambda: found)
    return found


@pytest.mark.parametrize("name", ["good", "address", "silent", "inside", "slow", "broken", "odd"])
def test_a_domain_that_may_take_mail_is_accepted(api: APIClient, resolver: Resolver, name: str) -> None:
    assert post(api, to=f"ada@{name}.org").status_code == 202


@pytest.mark.parametrize("name", ["null", "nowhere", "nothing"])
def test_a_domain_that_takes_no_mail_is_refused(api: APIClient, resolver: Resolver, name: str) -> None:
    answer = post(api, to=f"ada@{name}.org")
    assert [(error["field"], error["code"]) for error in assert_problem(answer, 400)["errors"]] == [
        ("to", "undeliverable")
    ]
    assert not Message.objects.exists()


def test_a_likely_typo_gets_a_hint(api: APIClient, resolver: Resolver) -> None:
    [error] = assert_problem(post(api, to="ada@gmial.com"), 400)["errors"]
    assert "gmail.com" in error["detail"]


def test_a_domain_is_looked_up_once(api: APIClient, resolver: Resolver) -> None:
    for number in range(3):
        post(api, to=f"a{number}@good.org")
        post(api, to=f"a{number}@slow.org")
    assert resolver.asked == [("good.org", "MX"), ("slow.org", "MX")]


def test_the_domains_of_a_batch_are_looked_up_at_the_same_time(
    api: APIClient, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = Barrier(12)

    def resolve(domain: str, kind: str) -> Any:
        """Answers once all twelve lookups are running."""
        together.wait(PATIENCE)
        return [Record(preference=1, exchange="a.")]

    monkeypatch.setattr(resolver, "resolve", resolve)
    monkeypatch.setattr(domains, "LOOK_UP_ALL_TIMEOUT", PATIENCE)
    body = post_batch(api, *[MINIMAL | {"to": f"ada@d{number}.org"} for number in range(12)]).json()
    assert body["accepted"] == 12
    assert not together.broken
    assert len(domains._verdicts) == 12


def test_mail_is_accepted_if_dns_takes_too_long(
    api: APIClient, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted, answered = Event(), []
    monkeypatch.setattr(domains, "LOOK_UP_ALL_TIMEOUT", 0.1)
    monkeypatch.setattr(resolver, "resolve", lambda domain, kind: answered.append(accepted.wait(PATIENCE)))
    batch = [MINIMAL | {"to": f"ada@d{number}.org"} for number in range(40)]
    try:
        assert post_batch(api, *batch).json()["accepted"] == 40
        assert answered == []
    finally:
        accepted.set()


def test_an_address_that_is_too_long_is_not_looked_up(api: APIClient, resolver: Resolver) -> None:
    assert post_batch(api, *[MINIMAL | {"to": f"ada@{'ä' * 10_000}.org"}] * 20).json()["refused"] == 20
    assert resolver.asked == []


def test_nothing_is_looked_up_if_dns_checks_are_off(api: APIClient, resolver: Resolver, settings: Any) -> None:
    settings.MAIL_CHECK_DNS = False
    assert post(api, to="ada@nowhere.org").status_code == 202
    assert resolver.asked == []


def test_the_resolver_has_a_limit() -> None:
    found = domains._resolver()
    assert isinstance(found, dns.resolver.Resolver)
    assert found.lifetime == domains.QUERY_TIMEOUT
