"""What is open over HTTP ends with the login that opened it, in whichever web process it is open."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.client import Client
from demo.eventually import eventually
from demo.processes import Process, free_port
from demo.stack import ROOT
from tests.support.servers.postgresql import PostgreSQL
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("ended logins")]

PASSWORD = "a-good-password"
LATER = {"kind": "demo.countdown", "params": {"seconds": 1}, "run_at": "2100-01-01T00:00:00Z"}
MAIL = {"to": "ada@example.org", "subject": "Hello", "text": "It stays queued, because this stack has no workers."}
STREAMS = ["jobs/events/", "jobs/{job}/events/", "mail/messages/{mail}/events/"]
HELD = {"Prefer": "wait=30"}
WITHIN = 20
"""Seconds; less than responses are held by themselves."""
NEW_USER = "from django.contrib.auth.models import User\nUser.objects.create_user({!r}, password={!r})"
USER = "from django.contrib.auth.models import User\nuser = User.objects.get(username={!r})\n"


class TwoWebProcesses(Stack):
    """A stack with a second web process, at other_url."""

    def __init__(self, database_url: str, logs: Path) -> None:
        super().__init__(database_url, logs, clusters=0)
        port = free_port()
        self.other_url = f"http://127.0.0.1:{port}"
        uvicorn = [sys.executable, "-m", "uvicorn", "project.asgi:application", "--no-access-log", "--port", str(port)]
        self._other = Process("web-2", uvicorn, log=self.logs / "web-2.log", env=self.env, cwd=ROOT)

    @property
    def processes(self) -> list[Process]:
        return [*super().processes, self._other]

    def ready(self) -> bool:
        try:
            return super().ready() and requests.get(f"{self.other_url}/readyz", timeout=5).ok
        except (requests.ConnectionError, requests.Timeout):
            return False


class Device:
    """One login of a user, by token or by session, as both web processes know it."""

    def __init__(self, stack: Stack, other_url: str, name: str, *, session: bool) -> None:
        self._roots = [f"{stack.url}/api/v1/", f"{other_url}/api/v1/"]
        self._headers, self._cookies = _session(self._roots[0], name) if session else (_token(stack.url, name), None)

    def request(self, method: str, path: str, process: int = 0, **options: Any) -> requests.Response:
        headers = {**self._headers, **options.pop("headers", {})}
        url = self._roots[process] + path
        return requests.request(method, url, headers=headers, cookies=self._cookies, timeout=PATIENCE * 10, **options)


class Watches:
    """Streams and held responses of one device in both web processes, each read in a thread of its own."""

    def __init__(self, device: Device) -> None:
        self._ended: dict[str, threading.Event] = {}
        self._open: dict[str, threading.Event] = {}
        job = device.request("POST", "jobs/", json=LATER).json()["id"]
        mail = device.request("POST", "mail/messages/", json=MAIL).json()["id"]
        for process in (0, 1):
            for path in STREAMS:
                self._read(f"{path} {process}", device, "GET", path.format(job=job, mail=mail), process, stream=True)
            state = {"If-None-Match": device.request("GET", f"jobs/{job}/", process).headers["ETag"]}
            self._read(f"poll {process}", device, "GET", f"jobs/{job}/", process, headers={**HELD, **state})
            lease = {"worker": f"device-{process}", "kinds": ["demo.remote"]}
            self._read(f"lease {process}", device, "POST", "leases/", process, headers=HELD, json=lease)

    def _read(self, name: str, device: Device, method: str, path: str, process: int, **options: Any) -> None:
        ended, opened = self._ended[name], self._open[name] = threading.Event(), threading.Event()

        def read() -> None:
            with device.request(method, path, process, **options) as response:
                response.raise_for_status()
                opened.set()
                for _ in response.iter_content(1):
                    pass
            ended.set()

        threading.Thread(target=read, daemon=True).start()

    def wait_until_open(self) -> None:
        streams = [opened for name, opened in self._open.items() if "events" in name]
        eventually(lambda: all(opened.is_set() for opened in streams), PATIENCE, "the beginning of all streams")

    @property
    def still_open(self) -> set[str]:
        return {name for name, ended in self._ended.items() if not ended.is_set()}

    @property
    def streams_still_open(self) -> int:
        return sum("events" in name for name in self.still_open)


def _token(url: str, name: str) -> dict[str, str]:
    answer = Client(url).post("tokens/", {"username": name, "password": PASSWORD}, expect=201)
    return {"Authorization": f"Token {answer.json()['token']}"}


def _session(root: str, name: str) -> tuple[dict[str, str], Any]:
    with requests.Session() as browser:
        browser.get(f"{root}session/").raise_for_status()
        csrf = {"X-CSRFToken": browser.cookies["csrftoken"]}
        credentials = {"username": name, "password": PASSWORD}
        browser.post(f"{root}session/", json=credentials, headers=csrf).raise_for_status()
        return {"X-CSRFToken": browser.cookies["csrftoken"]}, browser.cookies


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoWebProcesses]:
    with (
        PostgreSQL() as server,
        TwoWebProcesses(server.create_database("logins"), tmp_path_factory.mktemp("logins")) as stack,
    ):
        yield stack


def change_password(stack: Stack, name: str, device: Device) -> None:
    stack.run_code(USER.format(name) + "user.set_password('another-good-one')\nuser.save()")


def deactivate(stack: Stack, name: str, device: Device) -> None:
    stack.run_code(USER.format(name) + "user.is_active = False\nuser.save()")


def delete(path: str) -> Callable[[Stack, str, Device], None]:
    return lambda stack, name, device: device.request("DELETE", path).raise_for_status()


@pytest.mark.parametrize(
    ("session", "end"),
    [
        pytest.param(False, delete("tokens/current/"), id="the token deleted"),
        pytest.param(False, delete("tokens/"), id="all tokens deleted"),
        pytest.param(False, change_password, id="another password, a token"),
        pytest.param(False, deactivate, id="a user deactivated, a token"),
        pytest.param(True, delete("session/"), id="logged out"),
        pytest.param(True, delete("tokens/"), id="all devices logged out"),
        pytest.param(True, change_password, id="another password, a session"),
        pytest.param(True, deactivate, id="a user deactivated, a session"),
    ],
)
def test_streams_and_held_responses_end_with_their_login(
    stack: TwoWebProcesses, request: pytest.FixtureRequest, session: bool, end: Callable[[Stack, str, Device], None]
) -> None:
    names = [f"{who} of {request.node.callspec.id}".replace(" ", "_") for who in ("ada", "bob")]
    for name in names:
        stack.run_code(NEW_USER.format(name, PASSWORD))
    device, stranger = (Device(stack, stack.other_url, name, session=session) for name in names)
    ending, lasting = Watches(device), Watches(stranger)
    ending.wait_until_open()
    lasting.wait_until_open()
    assert ending.streams_still_open == lasting.streams_still_open == 2 * len(STREAMS)

    end(stack, names[0], device)

    eventually(lambda: not ending.still_open, WITHIN, "the end of all that the login had opened")
    assert lasting.streams_still_open == 2 * len(STREAMS)
