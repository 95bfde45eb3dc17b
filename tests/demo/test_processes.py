"""What the demo and the tests rely on: waiting for conditions, free ports, and programs that end when they should."""

import contextlib
import io
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from demo import screen
from demo.eventually import TooLateError, eventually
from demo.processes import DiedError, Process, free_port
from demo.stack import ROOT
from tests.support.timeouts import PATIENCE

STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("ready", flush=True)
signal.pause()
"""


def test_waiting_returns_the_first_true_value() -> None:
    values = iter([None, 0, "here"])
    assert eventually(lambda: next(values), within=60) == "here"


def test_a_condition_that_stays_false_is_named() -> None:
    with pytest.raises(TooLateError, match=r"^The end of the world did not happen within 0 s \(last: False\)"):
        eventually(lambda: False, 0, "The end of the world")
    with pytest.raises(TooLateError, match="never"):
        eventually(never, 0)


def test_a_preferred_port_is_taken_only_when_it_is_free() -> None:
    with socket.socket() as server:
        taken = bind_out_of_the_way(server)
        server.listen()
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_port_that_was_handed_out_is_not_given_to_others_before_anybody_listens() -> None:
    ours = free_port()
    ask = f"from demo.processes import free_port; print(free_port({ours}))"
    theirs = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert ours not in {free_port(ours), int(theirs)}


def test_a_program_that_ends_by_itself_is_reported_with_its_last_words(tmp_path: Path) -> None:
    process = make_process(tmp_path, "print('last words')")
    process.start()

    eventually(lambda: not process.running(), PATIENCE)

    with pytest.raises(DiedError, match="last words"):
        process.check()


def test_a_program_that_ignores_the_request_to_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    process = make_process(tmp_path, STUBBORN)
    process.start()
    eventually(lambda: "ready" in process.tail(), PATIENCE)

    process.stop(within=0.1)

    assert not process.running()
    eventually(lambda: not group_lives(process.pid), PATIENCE)


def test_a_program_that_was_never_started_is_not_stopped(tmp_path: Path) -> None:
    process = make_process(tmp_path, "")
    process.stop()
    with pytest.raises(DiedError, match="never started"):
        process.kill()


def test_progress_is_drawn_in_place_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    monkeypatch.setattr(screen, "console", terminal)

    with screen.bar() as show:
        show(50, "half")
        show(100, "done")

    drawn = terminal.file.getvalue()
    assert "100 %" in drawn
    assert "\x1b[" in drawn


def never() -> bool:
    return False


def group_lives(process_group: int) -> bool:
    try:
        os.killpg(process_group, 0)
    except ProcessLookupError:
        return False
    return True


def bind_out_of_the_way(server: socket.socket) -> int:
    """Bind to a port that neither outgoing connections nor free_port() choose by themselves."""
    while True:
        port = random.randrange(12_000, 20_000)
        with contextlib.suppress(OSError):
            server.bind(("127.0.0.1", port))
            return port


def make_process(folder: Path, program: str) -> Process:
    return Process("program", [sys.executable, "-c", program], log=folder / "log")
