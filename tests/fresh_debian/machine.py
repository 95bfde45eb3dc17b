"""A fresh Debian with systemd as its first process, in namespaces of its own; only the network is this machine's."""

import os
import pty
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.eventually import eventually
from demo.processes import DiedError, Process

BOOT = Path(__file__).with_name("boot.sh")
RELEASE = "bookworm"
PRESENT = "systemd-sysv,dbus,ca-certificates"
"""Packages that Debian's installer installs, and debootstrap's smallest variant does not."""
NAMESPACES = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--propagation", "private"]
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
WITHIN = 120
"""Seconds for starting, and for stopping."""


class Debian:
    """`with Debian(folder) as debian:` has installed and started it. Logs are in the folder; the rest is removed."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.log = folder / "commands.log"
        command = ["unshare", *NAMESPACES, "--kill-child", str(BOOT), str(self.root)]
        self._process = Process("debian", command, log=folder / "systemd.log")

    def __enter__(self) -> Self:
        self.remove()
        try:
            with self.log.open("wb") as log:
                command = ["debootstrap", "--variant=minbase", f"--include={PRESENT}", RELEASE, str(self.root)]
                if subprocess.run(command, stdout=log, stderr=log).returncode:
                    raise DiedError(f"debootstrap failed; see {self.log}.")
            shutil.copy("/etc/resolv.conf", self.root / "etc")
            if "PIP_CERT" in os.environ:
                shutil.copy(os.environ["PIP_CERT"], self.root / CERTIFICATES)
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def start(self) -> None:
        self._process.start()
        eventually(lambda: self._first_process() and self.state() in ("running", "degraded"), WITHIN, "Debian's start")

    def stop(self) -> None:
        """Run `systemctl poweroff`, and wait for its end."""
        subprocess.run(self._inside("systemctl", "poweroff"), capture_output=True)
        eventually(lambda: not self._process.running(), WITHIN, "Debian's end")

    def state(self) -> str:
        """`running`, `degraded` if a unit has failed, `starting`, …"""
        done = subprocess.run(self._inside("systemctl", "is-system-running"), capture_output=True, text=True)
        return done.stdout.strip()

    def run(self, script: str, answers: Iterable[tuple[str, str]] = ()) -> str:
        """Run a bash script as root at a terminal in /opt/legwork; returns its output. DiedError if a line fails.

        answers: pairs of (the beginning of) a prompt and what to type there, in order.
        """
        terminal, other_end = pty.openpty()
        command = self._inside("bash", "-ec", f"cd /opt/legwork\n{script}")
        ends = {"stdin": other_end, "stdout": other_end, "stderr": other_end}
        with subprocess.Popen(command, **ends, start_new_session=True) as process:
            os.close(other_end)
            printed = self._talk(terminal, list(answers))
        if process.returncode:
            raise DiedError(f"{script.strip()!r} failed ({process.returncode}): {printed.strip().splitlines()[-1:]}")
        return printed.replace("\r\n", "\n")

    def _talk(self, terminal: int, answers: list[tuple[str, str]]) -> str:
        printed, answered = b"", 0
        with self.log.open("ab") as log, open(terminal, "r+b", buffering=0) as both_ways:
            while some := _read(both_ways.fileno()):
                log.write(some)
                printed += some
                if answers and answers[0][0].encode() in printed[answered:]:
                    both_ways.write(f"{answers.pop(0)[1]}\n".encode())
                    answered = len(printed)
        return printed.decode(errors="replace")

    def remove(self) -> None:
        if self._process.running():
            self._process.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def _inside(self, *command: str) -> list[str]:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
        if "PIP_CERT" in os.environ:
            env["PIP_CERT"] = f"/{CERTIFICATES}"
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd"]
        variables = [f"{name}={value}" for name, value in env.items()]
        return ["nsenter", "--target", self._first_process(), *namespaces, "env", "-i", *variables, *command]

    def _first_process(self) -> str:
        """Its process id as seen on this machine; empty while there is none."""
        self._process.check()
        return Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().strip()


def _read(terminal: int) -> bytes:
    """Empty once the other end is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
