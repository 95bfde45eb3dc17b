"""Mail by real workers through real HTTP, while providers fail and workers are killed: each message is sent once."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import count, product
from typing import Any

import psycopg2
import pytest

from demo.eventually import TooLateError, eventually
from tests.support.cluster_stack import ClusterStack, kill, make_cluster_stack, suspend, tell
from tests.support.servers.simulator import API_KEY, DOMAIN, Simulator

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("mail_crashes")]

KILLS, KILLS_IN_A_CALL = 17, 3
WITHIN = 120
MOMENT = 0.05
"""Seconds between two looks."""
TIMEOUT = 3
QUICK = {
    "MAIL_PROVIDERS": "mailgun,backup=mailgun",
    # A mail that was handed over is known to the simulator by then, however busy the machine.
    "MAIL_SETTLED_AFTER": "8",
    "MAIL_TIMEOUT": str(TIMEOUT),
    "MAIL_PROBE_AFTER": "0.5",
    "MAIL_CHECK_DNS": "0",
}
RANDOM = random.Random(1)
SENT = {"sent", "delivered"}
"""No webhooks come here, but looking up an attempt may show that it was delivered."""

ACCEPTED = ["timeout-after", "drop", "truncated", "500-accepted", "502-accepted", "503-accepted", "504-accepted"]
NOT_ACCEPTED = ["timeout-before", "drop-before", "500", "503", "429"]
SHUT_OUT = ["401", "403", "404", "html"]
"""Each opens its provider's breaker, for twice as long when a probe meets it."""


@pytest.fixture(scope="module")
def mailguns() -> Iterator[tuple[Simulator, Simulator]]:
    """The first provider and the second."""
    first, second = pair = Simulator(), Simulator()
    try:
        for mailgun in pair:
            mailgun.process.start()
        for mailgun in pair:
            mailgun.wait_until_up()
        yield first, second
    finally:
        for mailgun in pair:
            mailgun.remove()


@pytest.fixture(scope="module")
def _stack(tmp_path_factory: pytest.TempPathFactory, mailguns: tuple[Simulator, Simulator]) -> Iterator[ClusterStack]:
    first, second = mailguns
    backup = {"BACKUP_API_KEY": API_KEY, "BACKUP_API_URL": second.api_url, "BACKUP_SENDER_DOMAIN": DOMAIN}
    folder = tmp_path_factory.mktemp("mail_crashes")
    with make_cluster_stack("postgresql", folder, workers=1, io_workers=2, env=first.env | backup | QUICK) as running:
        yield running


@pytest.fixture
def stack(_stack: ClusterStack, mailguns: tuple[Simulator, Simulator]) -> ClusterStack:
    """The stack with both providers up, without faults, and without rows about earlier failures."""
    for mailgun in mailguns:
        mailgun.clear()
    with closing(psycopg2.connect(_stack.env["DATABASE_URL"])) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM mail_provider")
    eventually(lambda: sent_by_first(_stack), WITHIN, "the workers' knowledge of that", pause=MOMENT)
    return _stack


def test_whatever_a_provider_answers_each_message_is_accepted_once(
    stack: ClusterStack, mailguns: tuple[Simulator, Simulator]
) -> None:
    """All at the same time."""
    sent = {}
    for importance, fault in product(["normal", "bulk"], [*ACCEPTED, *NOT_ACCEPTED]):
        silent = fault.startswith("timeout")
        break_both(mailguns, fault, f"{importance}.{fault}", seconds=10 * TIMEOUT if silent else 1)
        sent[importance, fault] = post(stack, f"{importance}.{fault}", importance)

    for name, message in sent.items():
        assert wait_for(stack, message, SENT)["possible_duplicate"] is False, name
        assert accepted(mailguns, message) == 1, name


@pytest.mark.parametrize("importance", ["normal", "bulk"])
def test_a_message_that_every_provider_shuts_out_is_accepted_once_in_the_end(
    stack: ClusterStack, mailguns: tuple[Simulator, Simulator], importance: str
) -> None:
    for fault in SHUT_OUT:
        break_both(mailguns, fault, f"{importance}.{fault}")
        message = post(stack, f"{importance}.{fault}", importance)
        eventually(partial(sent_with_others, stack, message), WITHIN, f"the end of {fault}", pause=MOMENT)
        assert message["possible_duplicate"] is False, fault
        assert accepted(mailguns, message) == 1, fault


def test_what_the_provider_refuses_is_rejected(stack: ClusterStack, mailguns: tuple[Simulator, Simulator]) -> None:
    for fault in ("400", "413"):
        break_both(mailguns, fault, f"refused.{fault}")
        message = wait_for(stack, post(stack, f"refused.{fault}"), {"rejected"})
        assert message["failure"]["class"] == "invalid"
        assert accepted(mailguns, message) == 0


def test_a_worker_killed_after_the_provider_accepted_sends_nothing_twice(
    stack: ClusterStack, mailguns: tuple[Simulator, Simulator]
) -> None:
    first, _ = mailguns
    first.configure(latency=0.1)
    messages: list[dict[str, Any]] = []
    kills = 0
    while kills < KILLS:
        number = len(messages)
        pair = [post(stack, f"crash{number}.{other}", RANDOM.choice(["normal", "bulk"])) for other in range(2)]
        eventually(partial(accepted, mailguns, pair[-1]), WITHIN, "a mail that was accepted", pause=0.003)
        messages += pair
        time.sleep(RANDOM.uniform(0, 0.06))
        kills += kill_who_sends(stack)
    for message in messages:
        wait_for(stack, message, SENT)
    assert [accepted(mailguns, message) for message in messages] == [1] * len(messages)


def test_a_worker_killed_before_the_answer_came_sends_nothing_twice(
    stack: ClusterStack, mailguns: tuple[Simulator, Simulator]
) -> None:
    """The mail is accepted without an answer. The worker is suspended while we check that it still waits for one."""
    killed: list[dict[str, Any]] = []
    for number in count():
        if len(killed) == KILLS_IN_A_CALL:
            break
        break_both(mailguns, "timeout-after", f"held{number}", seconds=10 * TIMEOUT)
        message = post(stack, f"held{number}", RANDOM.choice(["normal", "bulk"]))
        eventually(partial(accepted, mailguns, message), WITHIN, "the mail being accepted", pause=MOMENT)
        job = job_of(stack, message)
        worker = stack.worker_of(job)
        suspend(worker)
        if wait_for(stack, message, SENT | {"sending"})["status"] == "sending":
            kill(worker)
            eventually(partial(stack.events, "job_rescued", job_id=job["id"]), WITHIN, "the rescue", pause=MOMENT)
            killed.append(wait_for(stack, message, SENT))
        else:
            tell(worker, signal.SIGCONT)
    assert [accepted(mailguns, message) for message in killed] == [1] * KILLS_IN_A_CALL


def test_the_second_provider_takes_over_until_the_first_is_back(
    stack: ClusterStack, mailguns: tuple[Simulator, Simulator]
) -> None:
    first, second = mailguns
    first.stop()
    posted = [post(stack, f"failover{number}") for number in range(12)]
    messages = [wait_for(stack, message, SENT) for message in posted]
    assert {message["provider"] for message in messages} == {"backup"}
    assert [second.accepted(message["id"]) for message in messages] == [1] * len(messages)
    assert max(calls_of_first(message) for message in messages) == 1
    assert stack.events("mail_alert", alert="provider_open", provider="mailgun")

    first.start()
    eventually(lambda: sent_by_first(stack), WITHIN, "traffic by the first provider", pause=MOMENT)


def break_both(mailguns: tuple[Simulator, Simulator], fault: str, recipient: str, **wishes: object) -> None:
    """Both providers get this fault, once, for mail to this recipient."""
    for mailgun in mailguns:
        mailgun.fault(fault, recipient=recipient, **wishes)


def calls_of_first(message: dict[str, Any]) -> int:
    return sum(entry["type"] == "attempt_started" and entry["provider"] == "mailgun" for entry in message["timeline"])


def sent_by_first(stack: ClusterStack) -> bool:
    return bool(wait_for(stack, post(stack, "returns"), SENT)["provider"] == "mailgun")


def sent_with_others(stack: ClusterStack, message: dict[str, Any]) -> bool:
    """True once it is sent. Another message is sent before: if that closes a breaker, all waiting mail is due."""
    sent_by_first(stack)
    message.update(stack.client().get(f"mail/messages/{message['id']}/", expect=200).json())
    return message["status"] in SENT


def post(stack: ClusterStack, local: str, importance: str = "normal") -> dict[str, Any]:
    body = {"to": f"{local}@example.org", "subject": "Hi", "text": "There", "importance": importance}
    posted: dict[str, Any] = stack.client().post("mail/messages/", body, expect=202).json()
    return posted


def wait_for(
    stack: ClusterStack, message: dict[str, Any], statuses: set[str], within: float = WITHIN
) -> dict[str, Any]:
    def arrived() -> bool:
        message.update(stack.client().get(f"mail/messages/{message['id']}/", expect=200).json())
        return message["status"] in statuses

    try:
        eventually(arrived, within, pause=MOMENT)
    except TooLateError:
        raise AssertionError(f"waiting for {statuses}, but it is {message}") from None
    return message


def job_of(stack: ClusterStack, message: dict[str, Any]) -> dict[str, Any]:
    """The job that sends it."""
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT job_id FROM mail_message WHERE id = %s", [message["id"]])
        return {"id": str(cursor.fetchone()[0])}


def accepted(mailguns: tuple[Simulator, Simulator], message: dict[str, Any]) -> int:
    return sum(mailgun.accepted(message["id"]) for mailgun in mailguns)


def kill_who_sends(stack: ClusterStack) -> bool:
    """Kill the worker that began to send the last mail; False if it has ended."""
    last = stack.events("job_started", kind="mail.send")[-1]
    process = int(last["worker"].rpartition(":")[2])
    if process not in stack.clusters[0].ready_workers():
        return False
    kill(process)
    return True
