"""Bodies of all requests together: what a process holds of them, and for whom."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from project import asgi
from project.login.large_bodies import is_known
from tests.project.test_asgi import CHUNKED, ask
from tests.support.api_clients import make_token

pytest_plugins = ["tests.support.api_fixtures"]


def test_a_large_body_is_read_for_a_known_caller_only(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ANONYMOUS_BODY_LIMIT = 10
    monkeypatch.setattr(asgi, "is_known", lambda headers: (b"authorization", b"Token good") in headers)
    good = (b"authorization", b"Token good")
    for declared in ([(b"content-length", b"11")], CHUNKED):
        answer = ask(chunks=[b"x" * 11, b"x"], headers=declared)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Token")
        assert ask(chunks=[b"x" * 11, b"x"], headers=[*declared, good]).status == 404
    assert ask("/webhooks/nothing/", [b"x" * 11, b"x"], headers=CHUNKED).status == 404
    assert asgi.body_budget.used == 0


def test_bodies_beyond_the_budget_of_the_process_wait(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BODY_BUDGET = 20
    monkeypatch.setattr(asgi, "is_known", lambda headers: True)
    settings.ANONYMOUS_BODY_LIMIT = 5
    assert ask(chunks=[b"x" * 6, b"x" * 14], headers=CHUNKED).status == 404
    answer = ask(chunks=[b"x" * 6, b"x" * 15], headers=CHUNKED)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert b'"code":"overloaded"' in answer.body
    assert asgi.body_budget.used == 0, "the shares were given back"


def test_what_is_refused_before_django_counts_and_says_what_is_left(settings: Any) -> None:
    settings.BODY_LIMIT = settings.ANONYMOUS_BODY_LIMIT = 5
    answers = [ask(chunks=[b"x" * 6], headers=CHUNKED) for _ in range(2)]
    limit = settings.RATE_LIMIT_PER_MINUTE
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {f'"default";q={limit};w=60'}
    assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers] == [
        f'"default";r={limit - number}' for number in (1, 2)
    ]
    assert "ratelimit" not in ask("/webhooks/nothing/", [b"x" * 6], headers=CHUNKED).headers


def test_a_request_that_waits_for_changes_gives_its_share_back(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    async def wait(pool: Any, scope: Any, receive: Any, send: Any, before_waiting: Callable[[], None]) -> None:
        await receive()
        used.append(asgi.body_budget.used)
        before_waiting()
        used.append(asgi.body_budget.used)

    monkeypatch.setattr(asgi, "respond", wait)
    ask(chunks=[b"x" * 6, b"x"], headers=CHUNKED)
    assert (used, asgi.body_budget.used) == ([7, 0], 0)


def test_anonymous_bodies_leave_half_of_the_budget(settings: Any) -> None:
    settings.BODY_BUDGET = 20
    assert ask(chunks=[b"x" * 10], headers=CHUNKED).status == 404
    assert ask(chunks=[b"x" * 11], headers=CHUNKED).status == 503


def test_a_known_caller_is_read_while_anonymous_bodies_fill_their_half(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BODY_BUDGET = 20
    monkeypatch.setattr(asgi, "is_known", lambda headers: (b"authorization", b"Token good") in headers)
    monkeypatch.setattr(asgi.body_budget, "used", 10)
    assert ask(chunks=[b"x" * 5], headers=CHUNKED).status == 503
    assert ask(chunks=[b"x" * 5], headers=[*CHUNKED, (b"authorization", b"Token good")]).status == 404


@pytest.mark.django_db(transaction=True)
def test_only_a_valid_token_or_session_makes_a_caller_known(ada: User) -> None:
    browser = Client()
    browser.force_login(ada)
    session = browser.cookies["sessionid"].value.encode()
    token = make_token(ada).encode()
    assert is_known([(b"authorization", b"Token " + token)])
    assert is_known([(b"cookie", b"a=b; sessionid=" + session)])
    for headers in (
        [],
        [(b"authorization", b"Token stale")],
        [(b"authorization", b"Token \xff")],
        [(b"authorization", b"Basic " + token)],
        [(b"cookie", b"sessionid=stale")],
        [(b"cookie", b"\xff=\xff")],
        [(b"cookie", b'sessionid="12345678\\000"')],
    ):
        assert not is_known(headers)
