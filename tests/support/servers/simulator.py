"""Mailgun's simulator as a process of its own, on a free port, and its control API in Python."""

import os
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import requests

from demo.eventually import eventually
from demo.processes import Process, free_port
from demo.stack import ROOT
from tests.support.servers.folders import make_folder
from tests.support.servers.private_server import PrivateServer

API_KEY = "key-of-the-simulator"
SIGNING_KEY = "signing-key-of-the-simulator"
DOMAIN, FURTHER_DOMAIN = "mg.example.org", "further.example"
"""Both may send."""


class Simulator(PrivateServer):
    """Usable in `with`. `options` are the command's, e.g. latency=0.1; what it holds is lost by stop() and start()."""

    def __init__(self, webhook_url: str = "", *, port: int = 0, **options: float | str) -> None:
        self.folder = make_folder("simulator")
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_url = f"{self.url}/v3"
        self.env = {
            "MAILGUN_API_KEY": API_KEY,
            "MAILGUN_WEBHOOK_SIGNING_KEY": SIGNING_KEY,
            "MAILGUN_SENDER_DOMAIN": DOMAIN,
            "MAILGUN_API_URL": self.api_url,
        }
        """What an application needs in its environment to use this one."""
        wanted = {"port": self.port, "webhook-url": webhook_url, **options}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in wanted.items()]
        command = [sys.executable, str(ROOT / "manage.py"), "mailgun_simulator", *arguments]
        env = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings.development", **self.env}
        self.process = Process("simulator", command, log=self.folder / "log", cwd=ROOT, env=env)
        self._session = requests.Session()

    def start(self) -> None:
        self.process.start()
        self.wait_until_up()

    def wait_until_up(self, within: float = 60) -> None:
        eventually(self._answers, within, "the simulator's start")

    def stop(self) -> None:
        self.process.stop()

    def remove(self) -> None:
        self.stop()
        self._session.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def accepted(self, message_id: object) -> int:
        """How many mails of this message it has accepted, however it answered."""
        return int(self.account(message_id)["accepted"])

    def account(self, message_id: object) -> dict[str, Any]:
        """{"calls": n, "accepted": n, "attempts": {attempt_id: n}} of one message."""
        return dict(self.get(f"accepted/{message_id}"))

    def fault(self, kind: str, *, times: int | None = 1, **wishes: object) -> int:
        """Its number. It hits the next `times` calls, all if None; `recipient`, `on`, `seconds`: see faults.Fault."""
        return int(self.ask("POST", "faults", {"kind": kind, "times": times, **wishes}).json()["id"])

    def configure(self, **values: object) -> None:
        """`latency`, `time_scale`, `webhook_delay`, `index_delay`, `webhook_url`, …: see config.Config."""
        self.ask("PATCH", "config", values)

    def refuse(self, seconds: float) -> None:
        """Nobody can connect for so many seconds."""
        self.ask("POST", "refusal", {"seconds": seconds})

    def clear(self) -> None:
        """As after the start."""
        self.ask("DELETE", "")

    def messages(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self.get("messages"))

    def message(self, mail_id: str) -> dict[str, Any]:
        """One of them with bodies and events, by Mailgun's id."""
        return dict(self.get(f"messages/{mail_id.strip('<>')}"))

    def tell(self, mail_id: str, event: str) -> None:
        """Sends a further webhook: delivered, deferred, bounced, delayed-bounce, complained, opened, clicked, …"""
        self.ask("POST", f"messages/{mail_id.strip('<>')}/events", {"event": event})

    def webhooks(self) -> list[dict[str, Any]]:
        """Every try that has ended, oldest first, with the status that it got."""
        return list(self.get("webhooks"))

    def get(self, path: str) -> Any:
        return self.ask("GET", path).json()

    def ask(self, method: str, path: str, wishes: Mapping[str, object] | None = None) -> requests.Response:
        answer = self._session.request(method, f"{self.url}/simulator/{path}", json=wishes, timeout=60)
        answer.raise_for_status()
        return answer

    def _answers(self) -> bool:
        self.process.check()
        try:
            return requests.get(f"{self.url}/simulator/", timeout=5).ok
        except requests.RequestException:
            return False
