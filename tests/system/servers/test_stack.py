"""The stack that process tests run on: it starts, works, is revived after a kill, and leaves nothing behind."""

import os
from pathlib import Path

import pytest
import requests

from demo.client import UnexpectedAnswerError
from demo.eventually import eventually
from tests.support.stack import Stack
from tests.support.timeouts import PATIENCE


def test_a_job_runs_to_its_end(stack: Stack) -> None:
    client = stack.client("ada")
    job = client.post("jobs/", {"kind": "demo.countdown", "params": {"seconds": 0}}, expect=202).json()

    done = client.wait_for(job["id"], "succeeded")

    assert done["result"] == {"counted": 0}


def test_users_have_tokens_of_their_own(stack: Stack) -> None:
    job = stack.client("ada").post("jobs/", {"kind": "demo.countdown", "params": {"seconds": 0}}, expect=202).json()

    stack.client("grace").get(f"jobs/{job['id']}/", expect=404)
    stack.anonymous().get(f"jobs/{job['id']}/", expect=401)


def test_an_unexpected_answer_fails_with_its_text(stack: Stack) -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"401, not 200.*Unauthorized"):
        stack.anonymous().get("jobs/", expect=200)


def test_a_job_that_takes_too_long_is_not_followed_for_ever(stack: Stack) -> None:
    client = stack.client("ada")
    job = client.post("jobs/", {"kind": "demo.countdown", "params": {"seconds": 600}}, expect=202).json()

    with pytest.raises(UnexpectedAnswerError, match="has not finished"):
        list(client.follow(job["url"], within=0))
    client.post(f"jobs/{job['id']}/cancellation/")
    client.wait_for(job["id"], "cancelled")


def test_a_web_process_that_is_too_slow_to_answer_is_not_ready_yet(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*arguments: object, **options: object) -> None:
        raise requests.ReadTimeout

    monkeypatch.setattr(requests, "get", too_late)
    assert not stack.ready()


def test_a_stack_runs_jobs_again_after_its_processes_were_killed(stack: Stack) -> None:
    stack.kill("web")
    stack.kill("worker")
    stack.revive()

    client = stack.client("ada")
    job = client.post("jobs/", {"kind": "demo.countdown", "params": {"seconds": 0}}, expect=202).json()

    assert client.wait_for(job["id"], "succeeded")


def test_a_stopped_stack_leaves_no_process_behind(tmp_path: Path) -> None:
    with Stack(f"sqlite:///{tmp_path}/legwork.sqlite3", tmp_path) as stack:
        groups = [process.pid for process in stack.processes]

    eventually(lambda: not any(lives(group) for group in groups), PATIENCE, "the end of all processes")


def lives(process_group: int) -> bool:
    try:
        os.killpg(process_group, 0)
    except ProcessLookupError:
        return False
    return True
