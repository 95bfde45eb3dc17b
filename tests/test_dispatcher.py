"""What a dispatcher does in one round, inside the test's own process."""

from collections.abc import Iterator
from typing import Any

import pytest
from django_q.brokers import get_broker

from jobs.dispatcher import Dispatcher
from tests.workers import signal_handlers_kept

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    with signal_handlers_kept():
        yield Dispatcher(get_broker())


def test_each_round_lets_those_who_wait_know_of_what_nobody_has_announced(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed: list[Any] = []
    monkeypatch.setattr(dispatcher.broker, "notice_what_waits", lambda: noticed.append(dispatcher.rounds))
    dispatcher.round()
    dispatcher.round()
    assert noticed == [0, 1]
