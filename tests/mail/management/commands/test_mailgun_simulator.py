"""`manage.py mailgun_simulator` as a process: what it prints, and how it ends."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.support.mail.simulator_client import AUTH, PATIENCE, post
from tests.support.servers.simulator import FURTHER_DOMAIN, ROOT, Simulator

pytest_plugins = ["tests.support.mail.simulator_fixtures"]


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(ROOT / "manage.py"), "mailgun_simulator", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_the_simulator_takes_a_free_port_prints_it_and_stops_cleanly(sign: signal.Signals) -> None:
    with running("--port", "0") as process:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/v3", said_by(process))
        assert found
        assert requests.get(f"http://127.0.0.1:{found[1]}/", timeout=PATIENCE).ok
        process.send_signal(sign)
        rest, _ = process.communicate(timeout=PATIENCE)
        assert (process.returncode, rest) == (0, "")


def test_a_taken_port_is_one_sentence(simulator: Simulator) -> None:
    with running("--port", str(simulator.port)) as process:
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert (
            said
            == f"CommandError: The simulator cannot listen on 127.0.0.1:{simulator.port}: Address already in use.\n"
        )


def test_the_simulator_stops_with_requests_and_webhooks_under_way() -> None:
    with Simulator("http://10.255.255.1/") as simulator:
        for _ in range(3):
            post(simulator, {"to": "bounce@example.org"})
        with pytest.raises(requests.ReadTimeout):
            post(simulator, {"to": "timeout-before@example.org"}, timeout=0.2)
        simulator.stop()
        assert simulator.process.tail().count("\n") == 0


def test_a_further_domain_may_send(simulator: Simulator) -> None:
    answer = requests.post(
        f"{simulator.api_url}/{FURTHER_DOMAIN}/messages",
        {"from": f"a@{FURTHER_DOMAIN}", "to": "b@example.org", "text": "Hi"},
        auth=AUTH,
        timeout=PATIENCE,
    )
    assert answer.json()["id"].endswith(f"@{FURTHER_DOMAIN}>")
