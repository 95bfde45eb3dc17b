"""Many messages at once: POST mail/messages/batch/; and what DNS says of their domains."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Barrier, Event
from typing import Any

import dns.resolver
import pytest
from dns.resolver import NXDOMAIN, LifetimeTimeout, NoAnswer, NoNameservers
from rest_framework.test import APIClient

from jobs.models import Job
from mail.addresses import domains
from mail.api import request_parsing
from mail.models import Attachment, Message, Template
from tests.support.api_clients import assert_problem
from tests.support.factories import make_user
from tests.support.mail.messages import MESSAGES, MINIMAL, post
from tests.support.timeouts import PATIENCE

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

BATCH = f"{MESSAGES}batch/"
FILE = {"filename": "a.txt", "content": "SGk="}


def post_batch(api: APIClient, *messages: Any, **headers: str) -> Any:
    return api.post(BATCH, {"messages": list(messages)}, headers=headers)


def test_a_batch_is_answered_in_its_order_and_a_bad_message_sinks_no_other(api: APIClient) -> None:
    later = MINIMAL | {"send_at": "2100-01-01T00:00:00Z", "attachments": [FILE]}
    answer = post_batch(api, MINIMAL, {"to": "nobody"}, 5, later, MINIMAL | {"text": "{% if %}"}, None)
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["refused"]) == (202, 2, 4)
    assert [sorted(each) for each in body["results"]] == [["id", "url"]] + [["errors"]] * 2 + [["id", "url"]] + [
        ["errors"]
    ] * 2
    assert body["results"][4]["errors"][0]["field"] == "text"
    stored = {str(message.pk): message for message in Message.objects.all()}
    assert stored.keys() == {body["results"][0]["id"], body["results"][3]["id"]}
    second = stored[body["results"][3]["id"]]
    assert (second.status, Attachment.objects.get().message) == ("scheduled", second)
    assert {job.pk: job.status for job in Job.objects.all()} == {
        message.job_id: message.status for message in stored.values()
    }
    assert api.get(body["results"][0]["url"]).status_code == 200


def test_five_hundred_messages_cost_few_statements(
    api: APIClient, django_assert_max_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    Template.objects.create(user=make_user("grace"), name="t", subject="S", text="T")
    with django_assert_max_num_queries(8):
        body = post_batch(api, *[MINIMAL] * 499, MINIMAL | {"template": "t", "text": None}).json()
    assert (body["accepted"], body["refused"]) == (499, 1)
    assert Message.objects.count() == Job.objects.count() == 499


@pytest.mark.parametrize("messages", [[], [MINIMAL] * 501, None, "x", {}])
def test_a_batch_that_is_none_is_refused_whole(api: APIClient, messages: Any) -> None:
    assert_problem(api.post(BATCH, {"messages": messages}), 400)


def test_a_batch_of_bad_messages_is_a_batch_all_the_same(api: APIClient) -> None:
    assert post_batch(api, 1, 2).json()["refused"] == 2


def test_the_same_key_makes_one_batch(api: APIClient) -> None:
    first, second = (post_batch(api, MINIMAL, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert first.content == second.content
    assert Message.objects.count() == 1


def test_templates_that_take_long_do_not_take_it_five_hundred_times(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_parsing, "BATCH_RENDER_SECONDS", 0.2)
    slow = "{% for x in a %}{% for y in a %}{% for z in a %}.{% endfor %}{% endfor %}{% endfor %}"
    begun = time.thread_time()
    body = post_batch(api, *[MINIMAL | {"text": slow, "context": {"a": [1] * 300}}] * 100).json()
    assert body["refused"] == 100
    assert time.thread_time() - begun < 12


# --- DNS -----------------------------------------------------------------------------------------------------------


class Resolver:
    """Answers like DNS, for a few names: MX records, or what is raised instead."""

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
def test_what_may_take_mail_is_written_to(api: APIClient, resolver: Resolver, name: str) -> None:
    assert post(api, to=f"ada@{name}.org").status_code == 202


@pytest.mark.parametrize("name", ["null", "nowhere", "nothing"])
def test_what_takes_no_mail_is_refused(api: APIClient, resolver: Resolver, name: str) -> None:
    answer = post(api, to=f"ada@{name}.org")
    assert [(error["field"], error["code"]) for error in assert_problem(answer, 400)["errors"]] == [
        ("to", "undeliverable")
    ]
    assert not Message.objects.exists()


def test_a_likely_typo_gets_a_hint(api: APIClient, resolver: Resolver) -> None:
    [error] = assert_problem(post(api, to="ada@gmial.com"), 400)["errors"]
    assert "gmail.com" in error["detail"]


def test_a_domain_is_asked_for_once(api: APIClient, resolver: Resolver) -> None:
    for number in range(3):
        post(api, to=f"a{number}@good.org")
        post(api, to=f"a{number}@slow.org")
    assert resolver.asked == [("good.org", "MX"), ("slow.org", "MX")]


def test_the_domains_of_a_batch_are_asked_for_together(
    api: APIClient, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = Barrier(12)

    def resolve(domain: str, kind: str) -> Any:
        """Answers when all twelve have been asked for."""
        together.wait(PATIENCE)
        return [Record(preference=1, exchange="a.")]

    monkeypatch.setattr(resolver, "resolve", resolve)
    monkeypatch.setattr(domains, "LOOK_UP_ALL_TIMEOUT", PATIENCE)
    body = post_batch(api, *[MINIMAL | {"to": f"ada@d{number}.org"} for number in range(12)]).json()
    assert body["accepted"] == 12
    assert not together.broken
    assert len(domains._verdicts) == 12


def test_domains_that_take_too_long_are_let_through(
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


def test_what_is_too_long_for_an_address_is_not_asked_for(api: APIClient, resolver: Resolver) -> None:
    assert post_batch(api, *[MINIMAL | {"to": f"ada@{'ä' * 10_000}.org"}] * 20).json()["refused"] == 20
    assert resolver.asked == []


def test_without_dns_no_one_is_asked(api: APIClient, resolver: Resolver, settings: Any) -> None:
    settings.MAIL_CHECK_DNS = False
    assert post(api, to="ada@nowhere.org").status_code == 202
    assert resolver.asked == []


def test_the_resolver_has_a_limit() -> None:
    found = domains._resolver()
    assert isinstance(found, dns.resolver.Resolver)
    assert found.lifetime == domains.QUERY_TIMEOUT
