"""Mail by real workers through real HTTP, while providers fail and workers are killed: each message is sent once."""

import random
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import psycopg2
import pytest

from demo.eventually import TooLateError, eventually
from tests.farm import Farm, kill, make_farm
from tests.servers.simulator import API_KEY, DOMAIN, Simulator

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("mail_crashes")]

KILLS = 20
QUICK = {
    "MAIL_PROVIDERS": "mailgun,backup=mailgun",
    "MAIL_SETTLED_AFTER": "2",
    "MAIL_TIMEOUT": "1",
    "MAIL_PROBE_AFTER": "1",
    "MAIL_CHECK_DNS": "0",
}
RANDOM = random.Random(1)
SENT = {"sent", "delivered"}
"""No webhooks come here; but whoever asks what became of an attempt may learn more than that it was accepted."""

ACCEPTED = ["timeout-after", "drop", "truncated", "500-accepted", "502-accepted", "503-accepted", "504-accepted"]
NOT_ACCEPTED = ["timeout-before", "drop-before", "500", "503", "429", "401", "403", "404", "html"]


@pytest.fixture(scope="module")
def mailguns() -> Iterator[tuple[Simulator, Simulator]]:
    """The first provider and the second."""
    with Simulator() as first, Simulator() as second:
        yield first, second


@pytest.fixture(scope="module")
def _farm(tmp_path_factory: pytest.TempPathFactory, mailguns: tuple[Simulator, Simulator]) -> Iterator[Farm]:
    first, second = mailguns
    backup = {"BACKUP_API_KEY": API_KEY, "BACKUP_API_URL": second.api_url, "BACKUP_SENDER_DOMAIN": DOMAIN}
    folder = tmp_path_factory.mktemp("mail_crashes")
    with make_farm("postgresql", folder, env=first.env | backup | QUICK) as running:
        yield running


@pytest.fixture
def farm(_farm: Farm, mailguns: tuple[Simulator, Simulator]) -> Farm:
    """With both providers up, nothing wrong with either, and nothing remembered of what was."""
    for mailgun in mailguns:
        mailgun.clear()
    with closing(psycopg2.connect(_farm.env["DATABASE_URL"])) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM mail_provider")
    eventually(lambda: all(sent_by_first(_farm) for _ in range(4)), 20, "the workers' knowledge of that", pause=0.3)
    return _farm


@pytest.mark.parametrize("importance", ["normal", "bulk"])
def test_whatever_a_provider_answers_each_message_is_accepted_once(
    farm: Farm, mailguns: tuple[Simulator, Simulator], importance: str
) -> None:
    for fault in (*ACCEPTED, *NOT_ACCEPTED):
        for mailgun in mailguns:
            mailgun.fault(fault, recipient=f"{importance}.{fault}", seconds=1)
    sent = {fault: post(farm, f"{importance}.{fault}", importance) for fault in (*ACCEPTED, *NOT_ACCEPTED)}

    for fault, message in sent.items():
        assert wait_for(farm, message, SENT)["possible_duplicate"] is False, fault
        assert accepted(mailguns, message) == 1, fault


def test_what_the_provider_refuses_is_rejected(farm: Farm, mailguns: tuple[Simulator, Simulator]) -> None:
    for fault in ("400", "413"):
        mailguns[0].fault(fault, recipient=f"refused.{fault}")
        message = wait_for(farm, post(farm, f"refused.{fault}"), {"rejected"})
        assert message["failure"]["class"] == "invalid"
        assert accepted(mailguns, message) == 0


def test_a_worker_killed_after_the_provider_accepted_sends_nothing_twice(
    farm: Farm, mailguns: tuple[Simulator, Simulator]
) -> None:
    first, _ = mailguns
    first.turn(latency=0.1)
    messages: list[dict[str, Any]] = []
    kills = 0
    while kills < KILLS:
        number = len(messages)
        pair = [post(farm, f"crash{number}.{other}", RANDOM.choice(["normal", "bulk"])) for other in range(2)]
        eventually(partial(accepted, mailguns, pair[-1]), 20, "a mail that was accepted", pause=0.003)
        messages += pair
        time.sleep(RANDOM.uniform(0, 0.06))
        kills += kill_who_sends(farm)
    for message in messages:
        wait_for(farm, message, SENT, within=60)
    assert [accepted(mailguns, message) for message in messages] == [1] * len(messages)
    assert farm.events("job_rescued")


def test_the_second_provider_takes_over_until_the_first_is_back(
    farm: Farm, mailguns: tuple[Simulator, Simulator]
) -> None:
    first, second = mailguns
    first.stop()
    messages = [wait_for(farm, post(farm, f"failover{number}"), SENT) for number in range(12)]
    assert {message["provider"] for message in messages} == {"backup"}
    assert [second.accepted(message["id"]) for message in messages] == [1] * len(messages)
    assert max(calls_of_first(message) for message in messages) == 1
    assert farm.events("mail_alert", alert="provider_open", provider="mailgun")

    first.start()
    eventually(lambda: sent_by_first(farm), 30, "traffic by the first provider")


def calls_of_first(message: dict[str, Any]) -> int:
    return sum(entry["type"] == "attempt_started" and entry["provider"] == "mailgun" for entry in message["timeline"])


def sent_by_first(farm: Farm) -> bool:
    return bool(wait_for(farm, post(farm, "returns"), SENT)["provider"] == "mailgun")


def post(farm: Farm, local: str, importance: str = "normal") -> dict[str, Any]:
    body = {"to": f"{local}@example.org", "subject": "Hi", "text": "There", "importance": importance}
    posted: dict[str, Any] = farm.client().post("mail/messages/", body, expect=202).json()
    return posted


def wait_for(farm: Farm, message: dict[str, Any], statuses: set[str], within: float = 40) -> dict[str, Any]:
    def arrived() -> bool:
        message.update(farm.client().get(f"mail/messages/{message['id']}/", expect=200).json())
        return message["status"] in statuses

    try:
        eventually(arrived, within)
    except TooLateError:
        raise AssertionError(f"waiting for {statuses}, but it is {message}") from None
    return message


def accepted(mailguns: tuple[Simulator, Simulator], message: dict[str, Any]) -> int:
    return sum(mailgun.accepted(message["id"]) for mailgun in mailguns)


def kill_who_sends(farm: Farm) -> bool:
    """The worker that began the last e-mail; False if it is not there any more."""
    last = farm.events("job_started", kind="mail.send")[-1]
    process = int(last["worker"].rpartition(":")[2])
    if process not in farm.clusters[0].ready_workers():
        return False
    kill(process)
    return True
