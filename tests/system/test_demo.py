"""`make demo` and `make run`, as a newcomer meets them: what they show, how they end, and that nothing stays behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.client import Client
from demo.eventually import eventually
from demo.processes import free_port
from demo.stack import ROOT
from tests.support.timeouts import PATIENCE

AT_MOST = 5 * PATIENCE
"""Seconds for what starts and stops a whole stack."""


def test_the_demo_shows_a_job_and_the_fates_of_mails_and_leaves_nothing_running(tmp_path: Path) -> None:
    with program("demo", tmp_path, "--seconds", "2") as (demo, screen):
        assert demo.wait(AT_MOST) == 0, screen.read_text()

    text = screen.read_text()
    for expected in ("202 Accepted", "100 %", "succeeded", '"counted": 2', "application/problem+json", "make run"):
        assert expected in text
    fates = ["grace@example.org: delivered", "defer@example.org: delivered", "bounce@example.org: bounced"]
    for expected in [*fates, "complain@example.org: complained", "bounce@example.org: suppressed", "  deferred "]:
        assert expected in text
    nothing_is_left_running(tmp_path)


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, sign: signal.Signals, status: int) -> None:
    with program("demo", tmp_path, "--seconds", "600") as (demo, screen):
        shown(demo, screen, "202 Accepted")
        demo.send_signal(sign)
        assert demo.wait(AT_MOST) == status

    nothing_is_left_running(tmp_path)


def test_a_demo_that_cannot_start_says_why_in_a_sentence(tmp_path: Path) -> None:
    with program("demo", tmp_path, LOG_LEVEL="LOUD") as (demo, screen):
        assert demo.wait(AT_MOST) == 1

    assert "Failed:" in screen.read_text()
    assert "LOG_LEVEL" in screen.read_text()
    assert "Traceback" not in screen.read_text()


def test_a_running_stack_prints_a_login_that_works_and_stops_on_request(tmp_path: Path) -> None:
    port = free_port()
    with program("demo.run", tmp_path, PORT=str(port)) as (run, screen):
        # The line is there to its end, for another one follows.
        login = re.search(r"user (\S+), password (\S+)\n", shown(run, screen, r"password \S+\n"))
        assert login
        assert Client.login(f"http://127.0.0.1:{port}", *login.groups())

        run.send_signal(signal.SIGTERM)
        assert run.wait(AT_MOST) == 0

    nothing_is_left_running(tmp_path)


@pytest.mark.parametrize("port", ["http", "65536"])
def test_an_invalid_port_is_refused(tmp_path: Path, port: str) -> None:
    with program("demo.run", tmp_path, PORT=port) as (run, screen):
        assert run.wait(AT_MOST) == 1
    assert f"PORT is {port}" in screen.read_text()


@contextmanager
def program(module: str, folder: Path, *options: str, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`python -m module`, with its files in `folder`; the process, and the file that its output goes to."""
    screen = folder / "screen"
    command = [sys.executable, "-m", module, "--folder", str(folder), *options]
    with screen.open("wb") as output:
        started = subprocess.Popen(command, env={**os.environ, **env}, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield started, screen
    finally:
        started.kill()
        started.wait()


def shown(program: subprocess.Popen[bytes], screen: Path, what: str) -> str:
    """Wait until this is on the screen; returns all text there. Fails if the program has ended without it."""

    def look() -> str | None:
        ended, text = program.poll() is not None, screen.read_text()
        if re.search(what, text):
            return text
        assert not ended, text
        return None

    text = eventually(look, AT_MOST, f"the appearance of {what!r}", pause=0.1)
    assert text
    return text


def nothing_is_left_running(folder: Path) -> None:
    """Wait until no process is left: killed ones may need a moment to end."""
    eventually(lambda: not left_running(folder), PATIENCE, "the end of all processes", pause=0.1)


def left_running(folder: Path) -> list[str]:
    """The processes with the folder in their environment, as all have that the demo has started."""
    return [name for name, environment in environments() if str(folder) in environment]


def environments() -> Iterator[tuple[str, str]]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            yield path.parent.name, path.read_text(errors="replace")
        except OSError:
            continue
