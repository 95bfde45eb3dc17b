"""What the demo shows of a running Legwork, as a REST client: a token, a job with its progress, an error, e-mails."""

from typing import Any

from demo.client import Client, UnexpectedAnswerError
from demo.mail import show_mail
from demo.screen import bar, say, show_json, step

MAX_DELAY = 120
"""Seconds by which the job may be late: the machine may be busy with other work."""


def show(url: str, username: str, password: str, seconds: int) -> None:
    """Raises UnexpectedAnswerError or TooLateError if something did not happen. seconds: duration of the job."""
    client = _log_in(url, username, password)
    job = _post_job(client, seconds)
    _watch(client, job, seconds)
    _show_error(client)
    show_mail(client)


def _log_in(url: str, username: str, password: str) -> Client:
    step("A client asks for a token: POST /api/v1/tokens/")
    client = Client.login(url, username, password)
    say("201 Created; all further requests send it as [cyan]Authorization: Token …[/]")
    return client


def _post_job(client: Client, seconds: int) -> dict[str, Any]:
    body = {"kind": "demo.countdown", "params": {"seconds": seconds}}
    step(f"It posts {seconds} seconds of work: POST /api/v1/jobs/")
    show_json(body)
    answer = client.post("jobs/", body, expect=202)
    say(f"202 Accepted after {answer.elapsed.total_seconds() * 1000:.0f} ms; the work continues in the background")
    say(f"Location: {answer.headers['Location']}")
    job: dict[str, Any] = answer.json()
    _require(answer.headers["Location"] == job["url"], "Location and the job's url differ")
    return job


def _watch(client: Client, job: dict[str, Any], seconds: int) -> None:
    step("It polls the job's progress: GET, as often as Retry-After allows, 304 while nothing has changed")
    with bar() as show:
        for changed in client.follow(job["url"], within=seconds + MAX_DELAY):
            job = changed
            show(job["progress"]["percent"], job["progress"]["message"] or job["status"])
    _require(job["status"] == "succeeded", f"the job has {job['status']}: {job['error']}")
    _require(job["result"] == {"counted": seconds}, f"the job's result is {job['result']}")
    say(f"[green]{job['status']}[/] at attempt {job['attempt']} of {job['max_attempts']}; its result:")
    show_json(job["result"])


def _show_error(client: Client) -> None:
    step("An error says what to correct: here an unknown kind of job")
    answer = client.post("jobs/", {"kind": "make.coffee"}, expect=400)
    say(f"400 Bad Request, {answer.headers['Content-Type']}")
    show_json(answer.json())
    _require(answer.headers["Content-Type"].startswith("application/problem+json"), "the error is not problem+json")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise UnexpectedAnswerError(f"{otherwise}.")
