"""Starts programs, each in its own process group and with its output in a log file; they end with this process."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

_reserved: list[int] = []
"""The file descriptor of a socket for each reserved port; see free_port()."""


class DiedError(Exception):
    """A program has ended that should be running."""


class Process:
    """One program. user: to run it as, if we are root. death_signal: what it gets if this process dies first."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        death_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [*_wrapper(death_signal, user), *command]
        self._env = env
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603 our own commands
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._popen is None:
            raise DiedError(f"{self.name} was never started.")
        return self._popen

    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def check(self) -> None:
        """Raise DiedError, with the last lines of the log, unless the program is running."""
        if not self.running():
            raise DiedError(f"{self.name} has ended by itself.\n{self.tail()}")

    def stop(self, sign: signal.Signals = signal.SIGTERM, within: float = 30) -> None:
        """Ask the program to stop, and after at most `within` seconds kill what is left of its process group."""
        self.ask_to_stop(sign)
        self.wait_or_kill(within)

    def ask_to_stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self._popen is not None and self.running():
            self._popen.send_signal(sign)

    def wait_or_kill(self, within: float = 30) -> None:
        if self._popen is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(within)
        self.kill()

    def kill(self) -> None:
        """SIGKILL the program and everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._started.wait()

    def tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def stop_on_signals() -> None:
    """Handle SIGTERM and SIGHUP like Ctrl-C: end with everything that was started.

    SIGINT as well, because a script's background programs ignore it by default.
    """
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def free_port(preferred: int = 0) -> int:
    """A TCP port that is free: `preferred` if possible.

    It stays reserved until this process ends: free_port() gives it to no other program, and it is below the range of
    ephemeral ports. So a server may start late, and restart.
    """
    candidates = [preferred] if preferred else []
    candidates += random.sample(range(20_000, 32_000), 50)
    return next(port for port in candidates if is_free(port) and _reserve(port))


def _reserve(port: int) -> bool:
    """Bind an abstract socket (unix(7)) named after the port: one program at a time can. Only Linux has them."""
    if sys.platform != "linux":
        return True
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0legwork-port-{port}")
    except OSError:
        name.close()
        return False
    _reserved.append(name.detach())
    return True


def is_free(port: int) -> bool:
    """True if a server can listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def _wrapper(death_signal: signal.Signals, user: str | None) -> list[str]:
    """setpriv (util-linux) sets user and death signal, then executes the program. Without setpriv neither is set."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    as_user = ["--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups"] if user else []
    return [setpriv, *as_user, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--"]
