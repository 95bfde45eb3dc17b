"""`make debian`: executes the commands of docs/operations/linux-host.md, line by line, in a fresh Debian with systemd.

Needs root, debootstrap, a way to Debian's packages and to the package index, and the ports of the page. Exits with 0
only if a job of the page's first user succeeds: at once, after a restart of the services, and after one of the machine.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from demo.eventually import TooLateError, eventually
from demo.processes import DiedError, is_free, stop_on_signals
from demo.screen import fail, say, step
from demo.stack import ROOT
from tests.fresh_debian.machine import RELEASE, Debian
from tests.support.linux_host import PAGE, PASSWORD, USER, fill_in, is_ready, run_job

SET_UP, START, FIRST_USER = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
[RESTART] = re.findall(r"`(systemctl restart [^`]+)`", PAGE)
[SECURITY] = re.findall(r"`(systemd-analyze security [^`]+)`", PAGE)
ANSWERS = [("Username", USER), ("Email", ""), ("Password:", PASSWORD), ("Password (again):", PASSWORD)]
PORTS = {5432: "PostgreSQL", 6379: "Redis", 8000: "Legwork"}
URL = "http://127.0.0.1:8000"
READY_WITHIN = 120
SERVICES = ("legwork-web", "legwork-worker")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fresh_debian", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "debian", help="where it is installed")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    stop_on_signals()
    try:
        _check_machine()
        step(f"Installing Debian ({RELEASE}), and starting its systemd")
        with Debian(folder) as debian:
            say(f"it runs; logs in {folder}")
            _follow_the_page(debian)
    except (DiedError, TooLateError, AssertionError) as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _check_machine() -> None:
    if not shutil.which("debootstrap"):
        raise DiedError("debootstrap is missing; install it with: apt-get install debootstrap")
    for port, what in PORTS.items():
        if not is_free(port):
            raise DiedError(f"Something listens on port {port} here, which {what} needs: the network is shared.")


def _follow_the_page(debian: Debian) -> None:
    release = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD"], stdout=subprocess.PIPE, check=True).stdout
    (debian.root / "opt" / "legwork").mkdir()
    subprocess.run(["tar", "-x", "-C", str(debian.root / "opt" / "legwork")], input=release, check=True)
    step("As root, with the release unpacked in /opt/legwork")
    _run(debian, SET_UP)
    environment = fill_in({})
    (debian.root / "etc/legwork/environment").write_text(
        "".join(f"{key}={value}\n" for key, value in environment.items())
    )
    say("/etc/legwork/environment is filled in")
    _run(debian, START)
    _run(debian, FIRST_USER, ANSWERS)
    _check(debian, environment["ALLOWED_HOSTS"])
    say(debian.run(SECURITY).strip().splitlines()[-1].strip())

    step("The restart of an upgrade")
    _run(debian, RESTART)
    _check(debian, environment["ALLOWED_HOSTS"])

    step("A killed service is started again (Restart=always)")
    for service in SERVICES:
        _run(debian, f"systemctl kill --signal=KILL {service}")
    _check(debian, environment["ALLOWED_HOSTS"])

    step("A restart of the machine")
    debian.stop()
    debian.start()
    _check(debian, environment["ALLOWED_HOSTS"])


def _run(debian: Debian, script: str, answers: list[tuple[str, str]] | None = None) -> None:
    for line in script.strip().replace("\\\n", " ").splitlines():
        began = time.monotonic()
        debian.run(line, answers or ())
        say(f"[dim]{time.monotonic() - began:5.1f} s[/]  {line}")


def _check(debian: Debian, host: str) -> None:
    eventually(lambda: is_ready(URL), READY_WITHIN, "Legwork's being ready", pause=0.2)
    run_job(URL, host)
    state = debian.state()
    say(f"a job has succeeded; systemd is {state}")
    assert state == "running", debian.run("systemctl --failed")


if __name__ == "__main__":
    sys.exit(main())
