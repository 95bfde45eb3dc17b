"""The same POST several times at once, or around a crash: one Idempotency-Key is one job."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import requests

from tests.support.stack import Client, Stack

AT_ONCE = 20
KEYS, BEFORE_THE_CRASH = 100, 20
KEY = "Idempotency-Key"
ASLEEP = {"kind": "demo.countdown", "params": {"seconds": 0}, "run_at": "2100-01-01T00:00:00Z"}


def test_twenty_identical_posts_at_once_make_one_job_and_equal_answers(stack: Stack) -> None:
    key, client = str(uuid4()), stack.client()
    before = job_ids(client)
    together = threading.Barrier(AT_ONCE)

    def post(_: int) -> requests.Response:
        own = client.another()
        together.wait()
        return own.post("jobs/", ASLEEP, headers={KEY: key})

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(post, range(AT_ONCE)))

    assert {answer.status_code for answer in answers} <= {202, 409}
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len({(answer.text, answer.headers["Location"]) for answer in accepted}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in accepted) == 1
    assert job_ids(client) - before == {accepted[0].json()["id"]}


def test_a_key_is_the_same_plain_and_quoted(stack: Stack) -> None:
    key, client = str(uuid4()), stack.client()

    first = client.post("jobs/", ASLEEP, headers={KEY: key}, expect=202)
    again = client.post("jobs/", ASLEEP, headers={KEY: f'"{key}"'}, expect=202)

    assert again.text == first.text
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_key_that_comes_back_with_another_payload_is_refused(stack: Stack) -> None:
    key, client = str(uuid4()), stack.client()
    client.post("jobs/", ASLEEP, headers={KEY: key}, expect=202)

    client.post("jobs/", ASLEEP | {"priority": 1}, headers={KEY: key}, expect=422)


def test_a_key_that_is_too_long_is_refused(stack: Stack) -> None:
    stack.client().post("jobs/", ASLEEP, headers={KEY: "k" * 256}, expect=400)


def test_after_a_crash_of_the_web_process_a_key_has_its_whole_job_or_nothing(stack: Stack) -> None:
    """The thread that gets the answer of this number kills the process, while the others wait for theirs."""
    client = stack.client()
    before = job_ids(client)
    keys, numbers = [str(uuid4()) for _ in range(KEYS)], itertools.count(1)

    def post(key: str) -> str | None:
        answer = post_or_none(client.another(), key)
        if answer and next(numbers) == BEFORE_THE_CRASH:
            stack.kill("web")
        return answer and str(answer["id"])

    with ThreadPoolExecutor(4) as pool:
        promised = set(pool.map(post, keys)) - {None}
    stack.revive()

    assert BEFORE_THE_CRASH <= len(promised) < len(keys)
    after = [client.post("jobs/", ASLEEP, headers={KEY: key}, expect=202).json()["id"] for key in keys]
    assert len(set(after)) == len(keys)
    assert promised <= set(after)
    assert job_ids(client) - before == set(after)


def post_or_none(client: Client, key: str) -> dict[str, Any] | None:
    """What was answered before the crash."""
    try:
        answered: dict[str, Any] = client.post("jobs/", ASLEEP, headers={KEY: key}, expect=202).json()
    except requests.RequestException:
        return None
    return answered


def job_ids(client: Client) -> set[str]:
    """Of all jobs of this user, page by page."""
    found: set[str] = set()
    page: str | None = "jobs/?page_size=200"
    while page:
        answer = client.get(page, expect=200).json()
        found |= {job["id"] for job in answer["results"]}
        page = answer["next"]
    return found
