"""Who am I: tokens for stand-alone clients, sessions for browsers."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from project.models import Session, Token
from tests.support.api_clients import (
    CURRENT,
    PASSWORD,
    SESSION,
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


# --- tokens --------------------------------------------------------------------------------------------------------


def test_a_token_is_given_for_a_password_and_works(ada: User) -> None:
    answer = client().post(TOKENS, {"username": "ada", "password": PASSWORD, "name": "phone"})
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"token", "id", "expires_at", "name", "scope"}
    assert (body["name"], body["scope"], body["id"]) == ("phone", "all", str(Token.objects.get().pk))
    assert body["expires_at"].endswith("Z")
    assert client(body["token"]).get(SESSION).json() == {
        "authenticated": True,
        "user": {"id": ada.pk, "username": "ada"},
    }


def test_getting_a_token_counts_as_a_login(ada: User) -> None:
    assert ada.last_login is None
    log_in()
    ada.refresh_from_db()
    assert ada.last_login is not None


def test_a_token_is_stored_as_a_digest_only(ada: User) -> None:
    key = log_in().json()["token"]
    [stored] = Token.objects.values()
    assert key not in str(stored)
    listed = client(key).get(TOKENS)
    assert len(listed.json()["results"]) == 1
    assert key not in listed.content.decode()


def test_a_token_is_given_for_basic_credentials_with_and_without_a_body(ada: User) -> None:
    assert client().post(TOKENS, headers=basic("ada", PASSWORD)).status_code == 201
    named = client().post(TOKENS, {"name": "laptop"}, headers=basic("ada", PASSWORD))
    assert named.json()["name"] == "laptop"


def test_a_stale_token_or_a_session_is_no_obstacle_to_a_new_token(ada: User) -> None:
    answer = client("stale").post(TOKENS, {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 201
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)
    data = {"username": "ada", "password": PASSWORD}
    assert browser.post(TOKENS, data, content_type="application/json").status_code == 201


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("idle", PASSWORD)])
def test_wrong_credentials_get_one_answer_whatever_is_wrong(ada: User, name: str, password: str) -> None:
    make_user("idle", is_active=False)
    answer = log_in(name, password)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"] == [
        {"field": "", "code": "wrong_credentials", "detail": "Wrong user name or password."}
    ]
    refused = client().post(TOKENS, headers=basic(name, password))
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !!!", "Basic YWRh", "Basic a b", "Basic " + base64.b64encode(b"a\0:b").decode()]
)
def test_unreadable_basic_credentials_are_401(value: str) -> None:
    answer = client().post(TOKENS, headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"


def test_an_unknown_field_is_refused(ada: User) -> None:
    answer = client().post(TOKENS, {"username": "ada", "password": PASSWORD, "admin": True})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {
            "field": "admin",
            "code": "unknown",
            "detail": "Unknown field. Allowed: username, password, name, scope.",
        }
    ]


def test_an_empty_body_says_what_is_missing() -> None:
    answer = client().post(TOKENS)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["username", "password"]


def test_the_list_shows_ones_own_live_tokens_newest_first(ada: User) -> None:
    make_token(make_user("eve"), name="foreign")
    make_token(ada, name="expired", expiry=timedelta(seconds=-1))
    make_token(ada, name="old")
    key = make_token(ada, name="new")
    body = client(key).get(TOKENS).json()
    assert (body["next"], body["previous"]) == (None, None)
    assert [(row["name"], row["current"]) for row in body["results"]] == [("new", True), ("old", False)]
    assert set(body["results"][0]) == {
        *("id", "name", "scope", "created_at", "expires_at", "last_used_on", "current"),
    }


def test_the_list_has_pages(ada: User) -> None:
    keys = [make_token(ada, name=str(number)) for number in range(5)]
    first = client(keys[0]).get(TOKENS, {"page_size": 2}).json()
    second = client(keys[0]).get(first["next"]).json()
    third = client(keys[0]).get(second["next"]).json()
    names = [row["name"] for page in (first, second, third) for row in page["results"]]
    assert names == ["4", "3", "2", "1", "0"]
    assert third["next"] is None
    assert client(keys[0]).get(second["previous"]).json()["results"] == first["results"]


def test_one_device_logs_out_and_the_others_stay(ada: User) -> None:
    phone, laptop = make_token(ada), make_token(ada)
    logged_out = client(phone).delete(CURRENT)
    assert logged_out.status_code == 204
    assert not {"Content-Length", "Content-Type"} & set(logged_out.headers)
    assert client(phone).get(TOKENS).status_code == 401
    assert client(laptop).get(TOKENS).status_code == 200


def test_all_devices_of_one_user_log_out(ada: User) -> None:
    mine, foreign = make_token(ada), make_token(make_user("eve"))
    assert client(mine).delete(TOKENS).status_code == 204
    assert client(mine).get(TOKENS).status_code == 401
    assert client(foreign).get(TOKENS).status_code == 200


def test_a_session_has_no_current_token(ada: User) -> None:
    browser = client()
    browser.force_login(ada)
    answer = browser.delete(CURRENT)
    assert answer.status_code == 409
    assert "session/" in answer.json()["detail"]


# --- what a token opens --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN"])
def test_the_scheme_is_read_in_any_case(ada: User, scheme: str) -> None:
    answer = APIClient().get(TOKENS, headers={"Authorization": f"{scheme} {make_token(ada)}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("value", ["Token", "Token x", "Token x y", "Token \xff\xfe", "Token a\0b", "Token ünï", ""])
def test_an_invalid_token_is_401_with_a_challenge(ada: User, value: str) -> None:
    answer = APIClient().get(TOKENS, HTTP_AUTHORIZATION=value)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Token"
    assert answer["Content-Type"] == "application/problem+json"


def test_an_expired_token_is_401_and_is_not_deleted_by_looking(ada: User) -> None:
    key = make_token(ada, expiry=timedelta(seconds=-1))
    assert client(key).get(TOKENS).status_code == 401
    assert Token.objects.count() == 1


def test_the_token_of_an_inactive_user_is_401() -> None:
    assert client(make_token(make_user("idle", is_active=False))).get(TOKENS).status_code == 401


def test_authentication_takes_one_query_and_writes_nothing(ada: User, django_assert_num_queries: Any) -> None:
    for _ in range(5):
        make_token(ada, expiry=timedelta(seconds=-1))
    key = make_token(ada)
    with django_assert_num_queries(1) as queries:
        assert client(key).get(SESSION).json()["authenticated"]
    assert queries.captured_queries[0]["sql"].startswith("SELECT")


def test_a_token_comes_before_a_session_and_needs_no_csrf(ada: User) -> None:
    browser = Client(enforce_csrf_checks=True, headers={"Authorization": f"Token {make_token(ada)}"})
    browser.force_login(make_user("eve"))
    assert browser.get(SESSION).json()["user"]["username"] == "ada"
    assert browser.delete(TOKENS).status_code == 204


def test_pruning_deletes_expired_tokens_in_batches(ada: User) -> None:
    for _ in range(5):
        make_token(ada, expiry=timedelta(seconds=-1))
    kept = {make_token(ada), make_token(ada, expiry=None)}
    assert Token.objects.prune(batch=2) == 5
    assert Token.objects.count() == len(kept)


# --- sessions ------------------------------------------------------------------------------------------------------


def test_an_anonymous_request_for_the_session_gets_the_csrf_cookie() -> None:
    answer = APIClient().get(SESSION)
    assert answer.json() == {"authenticated": False}
    assert "csrftoken" in answer.cookies
    assert not Session.objects.exists()


def test_a_browser_logs_in_and_out(ada: User) -> None:
    browser = browser_with_csrf()
    answer = post_session(browser, **csrf(browser))
    assert answer.status_code == 200
    assert answer.json() == {"authenticated": True, "user": {"id": ada.pk, "username": "ada"}}
    assert browser.get(SESSION).json()["authenticated"]
    assert browser.delete(SESSION, headers=csrf(browser)).status_code == 204
    assert browser.get(SESSION).json() == {"authenticated": False}
    assert not Session.objects.exists()


def test_logging_in_needs_the_csrf_header_of_strangers_too(ada: User) -> None:
    for browser in (Client(enforce_csrf_checks=True), browser_with_csrf()):
        answer = post_session(browser)
        assert answer.status_code == 403
        assert answer["Content-Type"] == "application/problem+json"
    assert not Session.objects.exists()


def test_logging_out_needs_the_csrf_header(ada: User) -> None:
    browser = browser_with_csrf()
    browser.force_login(ada)
    assert browser.delete(SESSION).status_code == 403
    assert browser.get(SESSION).json()["authenticated"]


def test_a_token_does_not_excuse_a_login_from_csrf(ada: User) -> None:
    browser = Client(enforce_csrf_checks=True, headers={"Authorization": f"Token {make_token(ada)}"})
    assert post_session(browser).status_code == 403


def test_logging_in_changes_the_session_key(ada: User) -> None:
    browser = browser_with_csrf()
    post_session(browser, **csrf(browser))
    before = browser.cookies["sessionid"].value
    post_session(browser, **csrf(browser))
    assert browser.cookies["sessionid"].value != before


def test_logging_out_twice_is_fine() -> None:
    browser = browser_with_csrf()
    assert browser.delete(SESSION, headers=csrf(browser)).status_code == 204


def test_a_wrong_password_is_400_and_opens_no_session(ada: User) -> None:
    browser = browser_with_csrf()
    answer = post_session(browser, "wrong", **csrf(browser))
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Wrong user name or password."
    assert "sessionid" not in browser.cookies


def test_every_unsafe_call_of_a_session_needs_the_csrf_header(ada: User) -> None:
    browser = browser_with_csrf()
    browser.force_login(ada)
    assert browser.delete(TOKENS).status_code == 403
    assert browser.delete(TOKENS, headers=csrf(browser)).status_code == 204


def test_a_form_field_does_not_replace_the_csrf_header(ada: User) -> None:
    browser = browser_with_csrf()
    data = {"csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    assert browser.post(SESSION, data).status_code == 403


def test_asking_who_i_am_writes_nothing(ada: User, django_assert_max_num_queries: Any) -> None:
    browser = browser_with_csrf()
    browser.force_login(ada)
    with django_assert_max_num_queries(2) as queries:
        assert browser.get(SESSION).json()["authenticated"]
    assert {query["sql"].split()[0] for query in queries.captured_queries} == {"SELECT"}


def test_responses_about_identity_are_not_cached(ada: User) -> None:
    for answer in (log_in(), client().get(SESSION), client(make_token(ada)).get(TOKENS)):
        assert "no-store" in answer["Cache-Control"]


# --- the admin -----------------------------------------------------------------------------------------------------


def test_the_admin_shows_devices_without_digests_and_makes_none(ada: User) -> None:
    make_token(ada, name="phone")
    token = Token.objects.get()
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    page = browser.get("/admin/project/token/")
    assert "phone" in page.content.decode()
    assert browser.get("/admin/project/token/add/").status_code == 403
    confirmed = browser.post(f"/admin/project/token/{token.pk}/delete/", {"post": "yes"})
    assert confirmed.status_code == 302
    assert not Token.objects.exists()


def test_the_admin_shows_no_digest(ada: User) -> None:
    make_token(ada, name="phone")
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    token = Token.objects.get()
    for path in ("/admin/project/token/", f"/admin/project/token/{token.pk}/delete/"):
        page = browser.get(path)
        text = page.content.decode()
        assert page.status_code == 200
        assert "phone" in text
        assert token.digest not in text
        assert token.token_key not in text
