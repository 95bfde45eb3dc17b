"""What is done with the host that docs/operations/linux-host.md sets up: fill in its environment, and run a job."""

import secrets
from collections.abc import Mapping
from typing import Any

import requests

from demo.eventually import eventually
from demo.stack import ROOT
from tests.support.timeouts import PATIENCE

PAGE = (ROOT / "docs/operations/linux-host.md").read_text()
SYSTEMD = ROOT / "deploy" / "systemd"
USER, PASSWORD = "ada", "a long password of nobody"


def fill_in(places: Mapping[str, str]) -> dict[str, str]:
    """The variables of the example, with only the empty ones and the places of servers and files filled in."""
    lines = (SYSTEMD / "environment.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert places.keys() < example.keys()
    return {**example, **{name: secrets.token_urlsafe(48) for name, value in example.items() if not value}, **places}


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False


def run_job(url: str, host: str) -> None:
    """As the first user, and with the header fields of a proxy that has ended TLS."""
    client = requests.Session()
    client.headers.update({"Host": host, "X-Forwarded-Proto": "https", "X-Forwarded-For": "::1"})

    def call(method: str, path: str, **more: Any) -> Any:
        answer = client.request(method, f"{url}/api/v1/{path}", timeout=PATIENCE, **more)
        assert answer.ok, answer.text
        return answer.json()

    token = call("POST", "tokens/", json={"username": USER, "password": PASSWORD})["token"]
    client.headers["Authorization"] = f"Token {token}"
    job = call("POST", "jobs/", json={"kind": "report.activity", "params": {}})
    eventually(lambda: call("GET", f"jobs/{job['id']}/")["status"] == "succeeded", PATIENCE, "the job", pause=0.2)
