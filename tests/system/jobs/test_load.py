"""Many clients at once: every job is accepted, every job is run once, and no request fails because of a lock."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.eventually import eventually
from tests.conftest import DATABASES, make_database
from tests.support.stack import Client, Stack

CLIENTS, JOBS_EACH = 8, 25
WITHIN = 180
COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 0}}
LOCKED = "database is locked"
PASSWORD = "a-good-password"


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.xdist_group(f"load {name}"), pytest.mark.stack]) for name in DATABASES
    ]
)
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    url = f"sqlite:///{tmp_path}/legwork.sqlite3" if request.param == "sqlite" else make_database("load")
    with Stack(url, tmp_path, env={"WORKERS": "2"}) as stack:
        yield stack


def test_two_hundred_jobs_of_eight_clients_are_all_accepted_and_run_once(loaded: Stack) -> None:
    loaded.add_user("ada", PASSWORD)
    clients = [Client.login(loaded.url, "ada", PASSWORD) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = [answer for some in threads.map(post_jobs, clients) for answer in some]
    assert [answer.status_code for answer in answers] == [202] * CLIENTS * JOBS_EACH
    assert len({answer.json()["id"] for answer in answers}) == CLIENTS * JOBS_EACH

    eventually(
        lambda: len(jobs_of(clients[0], "succeeded")) == CLIENTS * JOBS_EACH,
        WITHIN,
        "the success of all jobs",
        pause=0.5,
    )
    assert all((job["attempt"], job["errors"]) == (1, []) for job in jobs_of(clients[0], "succeeded"))

    assert not [answer.text for answer in answers if LOCKED in answer.text]
    for process in loaded.processes:
        assert LOCKED not in process.log.read_text()
        assert "Traceback" not in process.log.read_text()


def post_jobs(client: Client) -> list[requests.Response]:
    return [client.post("jobs/", COUNTDOWN) for _ in range(JOBS_EACH)]


def jobs_of(client: Client, status: str) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = client.get(f"jobs/?status={status}&page_size=200", expect=200).json()["results"]
    return jobs
