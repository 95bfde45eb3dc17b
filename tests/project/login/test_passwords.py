"""What stops the guessing of passwords, at every door alike."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from tests.support.api_clients import (
    PASSWORD,
    QUOTA_EXCEEDED,
    TOKENS,
    basic,
    browser_with_csrf,
    client,
    csrf,
    log_in,
    make_token,
    make_user,
    post_session,
)

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db


def assert_locked(answer: HttpResponse) -> None:
    assert answer.status_code == 429
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert "RateLimit" in answer
    assert answer.json()["type"] == QUOTA_EXCEEDED


def test_after_five_wrong_tries_even_the_right_password_waits(ada: User) -> None:
    assert [log_in(password="wrong").status_code for _ in range(5)] == [400] * 5
    assert_locked(log_in())


def test_the_wait_ends_after_a_minute(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        log_in(password="wrong")
    wait = int(log_in()["Retry-After"])
    now = timezone.now().timestamp()
    monkeypatch.setattr("time.time", lambda: now + wait)
    assert log_in().status_code == 201


def test_right_passwords_are_not_counted(ada: User) -> None:
    for _ in range(4):
        log_in(password="wrong")
    assert [log_in().status_code for _ in range(8)] == [201] * 8


def test_right_passwords_have_a_limit_of_their_own(ada: User, settings: Any) -> None:
    settings.LOGINS_PER_MINUTE = 3
    assert [log_in(REMOTE_ADDR=f"192.0.2.{last}").status_code for last in range(3)] == [201] * 3
    answer = log_in(REMOTE_ADDR="192.0.2.9")
    assert_locked(answer)
    make_user("eve")
    assert log_in("eve").status_code == 201


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_an_account_is_locked_from_everywhere_whether_it_exists_or_not(ada: User, name: str) -> None:
    for last in range(5):
        assert log_in(name, "wrong", REMOTE_ADDR=f"192.0.2.{last}").status_code == 400
    answer = log_in(name, REMOTE_ADDR="192.0.2.9")
    assert_locked(answer)
    assert set(answer.json()) == {"type", "title", "status", "code", "detail", "instance"}


@pytest.mark.parametrize("name", ["ADA", "\uff41\uff44\uff41", " ada "])
def test_another_spelling_of_the_name_is_the_same_account(ada: User, name: str) -> None:
    for last in range(5):
        log_in(name, "wrong", REMOTE_ADDR=f"192.0.2.{last}")
    assert_locked(log_in(REMOTE_ADDR="192.0.2.9"))


def test_an_address_is_locked_for_every_account(ada: User) -> None:
    for number in range(5):
        log_in(f"user-{number}", "wrong")
    assert_locked(log_in())
    assert log_in(REMOTE_ADDR="192.0.2.9").status_code == 201


def test_tries_at_all_logins_count_together(ada: User) -> None:
    browser = browser_with_csrf()
    log_in(password="wrong")
    client().post(TOKENS, headers=basic("ada", "wrong"))
    post_session(browser, "wrong", **csrf(browser))
    for _ in range(2):
        Client().post("/admin/login/", {"username": "ada", "password": "wrong"})
    assert_locked(log_in())
    assert_locked(client().post(TOKENS, headers=basic("ada", PASSWORD)))
    assert_locked(post_session(browser, **csrf(browser)))


def test_the_admins_form_waits_too_and_says_so_on_a_page(ada: User) -> None:
    for _ in range(5):
        assert Client().post("/admin/login/", {"username": "ada", "password": "wrong"}).status_code == 200
    answer = Client().post("/admin/login/", {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) >= 1
    assert answer["Content-Type"].startswith("text/html")


def test_a_forwarded_address_is_not_believed_by_default(ada: User) -> None:
    for last in range(5):
        log_in(f"user-{last}", "wrong", headers={"X-Forwarded-For": f"192.0.2.{last}"})
    assert_locked(log_in(headers={"X-Forwarded-For": "192.0.2.9"}))


def test_a_forwarded_address_counts_behind_a_known_proxy(ada: User, settings: Any) -> None:
    settings.NUM_PROXIES = 1
    for number in range(5):
        log_in(f"user-{number}", "wrong", headers={"X-Forwarded-For": f"10.0.0.{number}, 192.0.2.1"})
    assert_locked(log_in(headers={"X-Forwarded-For": "192.0.2.1"}))
    assert log_in(headers={"X-Forwarded-For": "192.0.2.9"}).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_tries_at_the_same_time_are_counted_each() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("An in-memory database has one connection.")
    make_user("ada")

    def wrong(_: int) -> int:
        try:
            return log_in(password="wrong").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(wrong, range(16))) == [400] * 5 + [429] * 11


def test_a_cache_that_is_down_locks_nobody_out(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError

    for verb in ("get", "add", "incr"):
        monkeypatch.setattr(cache, verb, broken)
    assert log_in().status_code == 201
    assert log_in(password="wrong").status_code == 400
    assert "RateLimit" in client(make_token(ada)).get(TOKENS)


# --- who is known --------------------------------------------------------------------------------------------------


def test_an_address_from_which_the_user_has_logged_in_is_not_locked_out_by_others(ada: User) -> None:
    assert log_in(REMOTE_ADDR="192.0.2.1").status_code == 201
    for last in range(20, 26):
        log_in(password="wrong", REMOTE_ADDR=f"192.0.2.{last}")
    assert_locked(log_in(REMOTE_ADDR="192.0.2.9"))
    assert log_in(REMOTE_ADDR="192.0.2.1").status_code == 201
    for _ in range(5):
        log_in(password="wrong", REMOTE_ADDR="192.0.2.1")
    assert_locked(log_in(REMOTE_ADDR="192.0.2.1"))


def test_a_user_with_a_session_is_not_locked_out_by_others(ada: User) -> None:
    browser = browser_with_csrf(REMOTE_ADDR="192.0.2.1")
    browser.force_login(ada)
    browser.get("/api/v1/session/")
    for last in range(20, 26):
        log_in(password="wrong", REMOTE_ADDR=f"192.0.2.{last}")
    assert post_session(browser, **csrf(browser)).status_code == 200


def test_the_addresses_of_an_ipv6_network_are_one(ada: User) -> None:
    for number in range(5):
        log_in(f"user-{number}", "wrong", REMOTE_ADDR=f"2001:db8::{number}")
    assert_locked(log_in(REMOTE_ADDR="2001:db8::ffff"))
    assert log_in(REMOTE_ADDR="2001:db8:0:1::1").status_code == 201
