"""Rate limits of providers and receivers; and a broadcast never makes critical mail wait."""

import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone

from demo.eventually import eventually
from mail import checks
from mail.broadcasts import release
from mail.models import Message, RateBucket, Stream
from mail.policy import guard
from mail.sending import holds, pacing
from mail.status import Status
from tests.conftest import make_database
from tests.support.cluster_stack import ClusterStack
from tests.support.mail.messages import make_message
from tests.support.mail.sending import work_on
from tests.support.servers.simulator import Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]


def send_many(count: int, **fields: Any) -> list[float]:
    """The seconds that each of these messages is told to wait, 0 for those that were sent."""
    return [work_on(make_message(**fields)) for _ in range(count)]


def test_bulk_mail_waits_its_turn_and_important_mail_does_not(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_RATES = {"mailgun": (10, 60)}
    waits = send_many(9, importance="bulk")
    assert waits[:5] == [0] * 5
    assert all(earlier < later for earlier, later in pairwise(waits[5:]))
    assert 60 > waits[-1] > 20
    assert Message.objects.by_status() == {"sent": 5, "queued": 4}
    assert send_many(2, importance="normal") == [0, 0]
    assert send_many(10, importance="critical") == [0] * 10
    assert send_many(1, importance="normal")[0] > 0
    assert not Message.objects.filter(status=Status.QUEUED, attempts__isnull=False).exists()


def test_a_receiver_gets_bulk_mail_at_its_rate_and_others_do_not_wait(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_RATES = {"slow.example": (1, 3600)}
    slow = {"to": "a@slow.example", "address": "a@slow.example", "importance": "bulk"}
    assert [wait > 0 for wait in send_many(6, **slow)] == [False] * 5 + [True]
    assert send_many(2, importance="bulk") == [0, 0]


def test_mail_that_waits_for_a_rate_is_sent_when_its_turn_comes(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_RATES = {"mailgun": (20, 1)}
    messages = [make_message(importance="bulk") for _ in range(25)]
    began = time.monotonic()
    left = dict.fromkeys(messages, 0.0)
    while left:
        for message in [message for message, due in left.items() if time.monotonic() >= due]:
            wait = work_on(message)
            left[message] = time.monotonic() + wait
            if not wait:
                del left[message]
        assert time.monotonic() < began + 60
    assert time.monotonic() - began >= (25 - 5) / 20


def resume_a_stream() -> None:
    Stream.objects.create(user=User.objects.create_user("ada"), name="news", stopped_at=timezone.now(), stop_reason="x")
    guard.resume(Stream.objects.get())


@pytest.mark.parametrize("make_due", [holds.release, resume_a_stream])
def test_mail_that_is_made_due_waits_no_longer_than_before(
    mailgun: Simulator, settings: Any, make_due: Callable[[], None]
) -> None:
    settings.MAIL_RATES = {"mailgun": (10, 60)}
    send_many(5, importance="bulk")
    waiting = [make_message(importance="bulk") for _ in range(4)]
    planned = [work_on(message) for message in waiting]
    make_due()
    assert all(0 < again < before for again, before in zip(map(work_on, waiting), planned, strict=True))


def test_mail_does_not_wait_beyond_its_expiry(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_RATES = {"mailgun": (1, 86_400)}
    soon = timezone.now() + timedelta(seconds=30)
    assert send_many(7, importance="bulk", expires_at=soon)[-1] <= 30


def test_without_a_rate_nothing_is_counted(mailgun: Simulator) -> None:
    send_many(1, importance="bulk")
    assert not RateBucket.objects.exists()


@pytest.mark.parametrize(("rate", "window"), [(None, 2000), ((1000, 1), 2000), ((50, 1), 500), ((1, 60), 20)])
def test_a_broadcast_queues_what_can_be_sent_soon(settings: Any, rate: Any, window: int) -> None:
    settings.MAIL_RATES = {"mailgun": rate} if rate else {}
    assert pacing.broadcast_window(release.WINDOW) == window


def test_the_rates_command_shows_rates_and_waits(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_RATES = {"mailgun": (10, 60)}
    settings.MAIL_WARM_UP = {"mailgun": timezone.now().date()}
    send_many(7, importance="bulk")
    said = StringIO()
    call_command("mail_rates", stdout=said)
    [mailgun_line] = [line.split() for line in said.getvalue().splitlines() if line.startswith("mailgun")]
    assert mailgun_line[1] == "50/day"
    assert int(mailgun_line[2]) > 0
    assert mailgun_line[3:] == ["day", "1", "of", "14"]
    assert "gmail.com" in said.getvalue()


def test_a_rate_of_an_unknown_provider_is_a_warning(settings: Any) -> None:
    settings.MAIL_RATES = {"mailgum": (1, 1), "gmail.com": (1, 1), "mailgun": (1, 1)}
    settings.MAIL_WARM_UP = {"gmail.com": timezone.now().date()}
    said = [warning.msg.split()[2].rstrip(",") for warning in checks.rates_have_providers(None)]
    assert said == ["mailgum", "gmail.com"]


# --- a broadcast beside critical mail ------------------------------------------------------------------------------

THREADS, READERS = 8, 60


@pytest.mark.stack
@pytest.mark.xdist_group("pace")
def test_a_broadcast_that_hangs_leaves_threads_for_critical_mail(tmp_path: Path) -> None:
    """The provider never answers a broadcast's mail; critical mail is sent as if there was none."""
    with Simulator() as mailgun:
        mailgun.fault("timeout-before", times=None, recipient="reader", seconds=60)
        env = {**mailgun.env, "MAIL_THREADS": str(THREADS), "MAIL_TIMEOUT": "60", "MAIL_CHECK_DNS": "0"}
        with ClusterStack(make_database("pace"), tmp_path, workers=1, io_workers=1, env=env) as stack:
            client = stack.client()
            client.request("PUT", "mail/templates/news/", expect=201, json={"subject": "News", "text": "There"})
            readers = [{"to": f"reader@{number}.example"} for number in range(READERS)]
            client.post("mail/broadcasts/", {"template": "news", "recipients": readers}, expect=202)
            hang = THREADS * 3 // 4
            eventually(
                lambda: len(client.get("mail/messages/?status=sending").json()["results"]) >= hang, 60, "hanging"
            )
            sent = [seconds_until_sent(client, number) for number in range(5)]
            assert sorted(sent)[2] < 1, sent


def seconds_until_sent(client: Any, number: int) -> float:
    began = time.monotonic()
    body = {"to": f"ada{number}@example.org", "subject": "Hi", "text": "There", "importance": "critical"}
    url = client.post("mail/messages/", body, expect=202).json()["url"]
    eventually(lambda: client.get(url).json()["status"] not in ("queued", "sending"), 50, "critical mail", pause=0.02)
    return time.monotonic() - began
