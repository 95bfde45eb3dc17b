"""What docs/operations/linux-host.md sets up works: its units' commands, with its example of an environment filled in.

Files have other places here, and what would change this machine (apt-get, adduser, systemctl) is left out. All commands
of the page are executed by `make debian`, in a fresh Debian.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from demo.eventually import eventually
from demo.processes import Process, free_port
from demo.stack import ROOT
from tests.conftest import make_database
from tests.support.linux_host import PAGE, PASSWORD, SYSTEMD, USER, fill_in, is_ready, run_job
from tests.support.servers.redis import Redis
from tests.support.timeouts import PATIENCE

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("linux_host")]


def command(unit: str) -> list[str]:
    [line] = re.findall(r"^ExecStart=(.*)$", (SYSTEMD / f"legwork-{unit}.service").read_text(), re.MULTILINE)
    return shlex.split(line.replace("/opt/legwork/.venv/bin/python", sys.executable))


@pytest.fixture
def environment(redis_server: Redis, tmp_path: Path) -> dict[str, str]:
    places = {
        "DATABASE_URL": make_database("linux_host"),
        "CACHE_URL": redis_server.url(6),
        "MEDIA_ROOT": str(tmp_path / "output"),
    }
    return {"PATH": os.environ["PATH"], **fill_in(places)}


@pytest.fixture
def web(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The URL; the three services run in the order of their units."""
    port = str(free_port())
    started: list[Process] = []

    def service(name: str) -> Process:
        words = [port if word == "8000" else word for word in command(name)]
        process = Process(name, words, log=tmp_path / f"{name}.log", env=environment, cwd=ROOT)
        process.start()
        started.append(process)
        return process

    try:
        release = service("release")
        eventually(lambda: not release.running(), PATIENCE, "the end of the migrations")
        service("web")
        service("worker")
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: is_ready(url), PATIENCE, "the web process", pause=0.2)
        yield url
    finally:
        for process in started:
            process.stop()


def test_the_page_s_services_run_a_job_of_its_first_user(web: str, environment: dict[str, str], tmp_path: Path) -> None:
    [create] = re.findall(r"manage\.py (createsuperuser)$", PAGE, re.MULTILINE)
    first = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD, "DJANGO_SUPERUSER_USERNAME": USER, "DJANGO_SUPERUSER_EMAIL": ""}
    words = [sys.executable, "manage.py", create, "--noinput"]
    user = Process("user", words, log=tmp_path / "user.log", env=environment | first, cwd=ROOT)
    user.start()
    eventually(lambda: not user.running(), PATIENCE, "the first user")

    run_job(web, environment["ALLOWED_HOSTS"])


def test_without_tls_a_request_is_sent_to_https(web: str, environment: dict[str, str]) -> None:
    plain = requests.get(
        f"{web}/api/v1/", headers={"Host": environment["ALLOWED_HOSTS"]}, timeout=PATIENCE, allow_redirects=False
    )
    assert (plain.status_code, plain.headers["Location"]) == (301, f"https://{environment['ALLOWED_HOSTS']}/api/v1/")


@pytest.mark.skipif(not shutil.which("apt-get"), reason="This is no Debian.")
def test_debian_has_the_page_s_packages() -> None:
    """A plan only: the machine that runs the tests is not the one to set up."""
    [packages] = re.findall(r"^apt-get install --yes (.*)$", PAGE, re.MULTILINE)
    planned = subprocess.run(
        ["apt-get", "--simulate", "install", "--yes", *packages.split()], capture_output=True, text=True, check=False
    )
    assert planned.returncode == 0, f"{planned.stderr}\nIf the lists of packages are missing: apt-get update"


def test_every_file_that_the_page_s_commands_name_exists() -> None:
    commands = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
    assert {"deploy/systemd/environment.example", "requirements.txt"} <= set(re.findall(r"[\w./-]+\.\w+", commands))
    for name in re.findall(r"(?:^| )((?:deploy/|requirements)[\w./*-]+)", commands):
        assert list(ROOT.glob(name)), name
    assert set(re.findall(r"legwork-\w+", commands)) <= {unit.stem for unit in SYSTEMD.glob("*.service")}
