"""The client library against running processes: what is cut or restarted does not end a wait."""

from collections.abc import Iterator
from itertools import pairwise
from threading import Thread

import pytest

from demo.eventually import eventually
from legwork_client import Client
from legwork_client.types import Job
from tests.support.relay import Relay
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

SECONDS = 6


@pytest.fixture
def relay(postgresql_stack: Stack) -> Iterator[Relay]:
    with Relay(postgresql_stack.port) as relay:
        yield relay


def test_a_wait_outlasts_a_cut_network_and_a_restart_of_the_web_process(postgresql_stack: Stack, relay: Relay) -> None:
    states: list[Job] = []

    def watch() -> None:
        with Client(relay.url, postgresql_stack.client().token) as legwork:
            job = legwork.jobs.submit("demo.countdown", {"seconds": SECONDS})
            states.extend([job])
            for state in legwork.jobs.changes(job, within=4 * PATIENCE):
                states.append(state)

    watching = Thread(target=watch)
    watching.start()
    eventually(lambda: states and states[-1]["status"] == "running", PATIENCE, "the start of the job")
    assert relay.cut() > 0
    cut_at = len(states)
    eventually(lambda: len(states) > cut_at, PATIENCE, "news after the cut")
    postgresql_stack.kill("web")
    postgresql_stack.revive()
    watching.join(4 * PATIENCE)
    assert not watching.is_alive()
    assert (states[-1]["status"], states[-1]["result"]) == ("succeeded", {"counted": SECONDS})
    assert all(one != other for one, other in pairwise(states[1:]))
