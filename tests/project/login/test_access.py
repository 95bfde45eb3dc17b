"""Scopes of tokens, what ends tokens and sessions, and what becomes of a deactivated user's work."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.models.states import Status
from project.login.access import cancel_work_of_inactive_users, end_access_of_inactive_users
from project.login.last_used import LastUsed
from project.models import Session, Token
from rest import scopes
from routers import pool
from tests.support.api_clients import (
    PASSWORD,
    SESSION,
    TOKENS,
    assert_problem,
    client,
    log_in,
    make_token,
    make_user,
)
from tests.support.factories import make_job
from tests.support.mail.messages import make_message

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

JOBS, LEASES = "/api/v1/jobs/", "/api/v1/leases/"


# --- scopes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "method", "path", "allowed"),
    [
        ("all", "POST", JOBS, True),
        ("all", "POST", LEASES, True),
        ("read", "GET", JOBS, True),
        ("read", "HEAD", JOBS, True),
        ("read", "OPTIONS", JOBS, True),
        ("read", "POST", JOBS, False),
        ("read", "DELETE", TOKENS, False),
        ("read", "POST", LEASES, False),
        ("leases", "POST", LEASES, True),
        ("leases", "PATCH", f"{LEASES}1/", True),
        ("leases", "GET", JOBS, False),
        ("leases", "GET", "/api/v1/leases", False),
        ("leases", "GET", TOKENS, False),
        ("unheard of", "GET", JOBS, False),
    ],
)
def test_a_scope_allows_its_requests_only(scope: str, method: str, path: str, allowed: bool) -> None:
    assert scopes.allows(scope, method, path) is allowed


@pytest.mark.parametrize(("scope", "get", "post"), [("all", 200, 202), ("read", 200, 403), ("leases", 403, 403)])
def test_the_scope_applies_to_reads_and_posts_of_jobs(ada: User, scope: str, get: int, post: int) -> None:
    api = client(log_in_with(scope))
    assert api.get(JOBS).status_code == get
    answer = api.post(JOBS, {"kind": "demo.countdown", "params": {"seconds": 0}})
    assert answer.status_code == post
    if post == 403:
        assert assert_problem(answer, 403)["code"] == "insufficient_scope"
    assert Job.objects.count() == (post == 202)


def test_an_unknown_scope_is_refused_with_the_choice(ada: User) -> None:
    answer = client().post(TOKENS, {"username": "ada", "password": PASSWORD, "scope": "everything"})
    assert assert_problem(answer, 400)["errors"][0]["field"] == "scope"
    assert not Token.objects.exists()


def log_in_with(scope: str) -> str:
    answer = client().post(TOKENS, {"username": "ada", "password": PASSWORD, "scope": scope})
    assert answer.json()["scope"] == scope
    key: str = answer.json()["token"]
    return key


# --- logging out ---------------------------------------------------------------------------------------------------


def test_one_device_logs_another_one_out_by_its_id(ada: User) -> None:
    phone, laptop = log_in().json(), make_token(ada)
    assert client(laptop).delete(f"{TOKENS}{phone['id']}/").status_code == 204
    assert client(phone["token"]).get(TOKENS).status_code == 401
    assert client(laptop).get(TOKENS).status_code == 200
    assert client(laptop).delete(f"{TOKENS}{phone['id']}/").status_code == 404


def test_another_users_device_is_not_there(ada: User) -> None:
    make_token(make_user("eve"))
    foreign = Token.objects.get()
    assert client(make_token(ada)).delete(f"{TOKENS}{foreign.pk}/").status_code == 404
    assert Token.objects.filter(pk=foreign.pk).exists()


def test_deleting_all_tokens_ends_sessions_too(ada: User) -> None:
    browser, other, foreign = Client(), Client(), Client()
    browser.force_login(ada)
    other.force_login(ada)
    foreign.force_login(make_user("eve"))
    assert client(make_token(ada)).delete(TOKENS).status_code == 204
    assert [each.get(SESSION).json()["authenticated"] for each in (browser, other, foreign)] == [False, False, True]


def test_a_browser_that_logs_out_all_is_logged_out_itself(ada: User) -> None:
    browser = client()
    browser.force_login(ada)
    assert browser.delete(TOKENS).status_code == 204
    assert not Session.objects.exists()
    assert browser.get(SESSION).json() == {"authenticated": False}


# --- changed passwords ---------------------------------------------------------------------------------------------


def test_a_changed_password_ends_all_tokens_however_it_was_changed(ada: User) -> None:
    api = client(make_token(ada))
    User.objects.filter(pk=ada.pk).update(password=make_password("another-password"))
    assert api.get(TOKENS).status_code == 401
    renewed = client(log_in(password="another-password").json()["token"])
    assert len(renewed.get(TOKENS).json()["results"]) == 1


def test_a_password_that_is_merely_hashed_anew_ends_none(ada: User, settings: Any) -> None:
    api = client(make_token(ada))
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    assert log_in().status_code == 201
    assert User.objects.get().password.startswith("scrypt")
    assert api.get(TOKENS).status_code == 200


# --- deactivated users ---------------------------------------------------------------------------------------------


def test_a_reactivated_user_has_to_log_in_again(ada: User) -> None:
    api, browser = client(make_token(ada)), Client()
    browser.force_login(ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert api.get(TOKENS).status_code == 401
    assert end_access_of_inactive_users() == 1
    assert end_access_of_inactive_users() == 0
    User.objects.filter(pk=ada.pk).update(is_active=True)
    assert api.get(TOKENS).status_code == 401
    assert browser.get(SESSION).json() == {"authenticated": False}


def test_unfinished_work_of_a_deactivated_user_is_cancelled(ada: User) -> None:
    mine = {status: make_job(status, user=ada) for status in Status}
    foreign = make_job(user=make_user("eve"))
    message = make_message(user=ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    cancel_work_of_inactive_users()
    after = {status: Job.objects.get(pk=job.pk) for status, job in mine.items()}
    waiting = {Status.SCHEDULED, Status.QUEUED, Status.RETRYING}
    assert {status for status, job in after.items() if job.status == Status.CANCELLED} == waiting | {Status.CANCELLED}
    assert (after[Status.RUNNING].status, after[Status.RUNNING].cancel_requested) == (Status.RUNNING, True)
    assert Job.objects.get(pk=foreign.pk).status == Status.QUEUED
    message.refresh_from_db()
    assert message.status == "cancelled"
    assert cancel_work_of_inactive_users() == 0


def test_the_work_of_a_deactivated_user_can_be_kept(ada: User, settings: Any) -> None:
    settings.KEEP_WORK_OF_INACTIVE_USERS = True
    job = make_job(user=ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert cancel_work_of_inactive_users() == 0
    assert Job.objects.get(pk=job.pk).status == Status.QUEUED


def test_no_replica_lets_in_whose_logins_have_ended(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[Any] = []
    monkeypatch.setattr(pool, "record_writes", recorded.append)
    browser = Client()
    browser.force_login(ada)
    assert browser.delete(TOKENS).status_code == 204
    assert recorded == [[ada.pk]]


@pytest.mark.parametrize("change", ["is_active", "password"])
def test_no_replica_judges_a_user_by_what_an_operator_has_changed(
    ada: User, monkeypatch: pytest.MonkeyPatch, change: str, django_capture_on_commit_callbacks: Any
) -> None:
    recorded: list[Any] = []
    monkeypatch.setattr(pool, "record_writes", recorded.append)
    browser = Client()
    browser.force_login(User.objects.create_superuser("operator"))
    page = f"/admin/auth/user/{ada.pk}/" + ("change/" if change == "is_active" else "password/")
    fields = (
        {"username": "ada", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        if change == "is_active"
        else {"password1": "another-good-password", "password2": "another-good-password", "usable_password": "true"}
    )
    with django_capture_on_commit_callbacks(execute=True):
        assert browser.post(page, fields).status_code == 302
    assert recorded == [[ada.pk]]


# --- last use ------------------------------------------------------------------------------------------------------


def test_the_day_of_the_last_use_is_written_by_the_recorder_later(ada: User) -> None:
    recorder = LastUsed()
    make_token(ada)
    token = Token.objects.get()
    recorder.note(token.pk, token.last_used_on)
    assert Token.objects.get().last_used_on is None
    recorder.write()
    assert Token.objects.get().last_used_on == timezone.now().date()


def test_a_token_is_written_once_a_day(ada: User) -> None:
    recorder = LastUsed()
    make_token(ada)
    token = Token.objects.get()
    today = timezone.now().date()
    recorder.note(token.pk, today)
    recorder.write()
    assert Token.objects.get().last_used_on is None, "it was noted by another process already"
    recorder.note(token.pk, today - timedelta(days=1))
    recorder.write()
    Token.objects.update(last_used_on=None)
    recorder.note(token.pk, None)
    recorder.write()
    assert Token.objects.get().last_used_on is None


def test_a_use_before_midnight_that_is_written_after_it_keeps_its_day(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, now = LastUsed(), timezone.now()
    make_token(ada)
    make_token(ada)
    yesterday, today = Token.objects.order_by("created")
    recorder.note(yesterday.pk, None)
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(days=1))
    recorder.note(today.pk, None)
    recorder.write()
    used_on = [token.last_used_on for token in Token.objects.order_by("created")]
    assert used_on == [now.date(), now.date() + timedelta(days=1)]


def test_an_authenticated_request_is_noted(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = LastUsed()
    monkeypatch.setattr("project.login.authentication.last_used", recorder)
    api.get(TOKENS)
    recorder.write()
    assert Token.objects.get().last_used_on == timezone.now().date()


# --- bodies and the index ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["cancellation", "retries"])
def test_an_action_without_a_body_refuses_unknown_fields(api: APIClient, ada: User, action: str) -> None:
    job = make_job(Status.FAILED, user=ada)
    answer = api.post(f"{JOBS}{job.pk}/{action}/", {"when": "now"})
    assert assert_problem(answer, 400)["errors"][0]["field"] == "when"
    assert Job.objects.get().status == Status.FAILED


@pytest.mark.parametrize("action", ["cancellation", "resends"])
def test_an_action_on_a_message_refuses_unknown_fields(api: APIClient, ada: User, action: str) -> None:
    message = make_message(user=ada)
    answer = api.post(f"/api/v1/mail/messages/{message.pk}/{action}/", {"when": "now"})
    assert assert_problem(answer, 400)["errors"][0]["field"] == "when"


def test_the_index_leads_to_every_collection() -> None:
    index = client().get("/api/v1/").json()
    assert index["jobs"] == f"http://testserver{JOBS}"
    assert {"tokens", "session", "job_kinds", "jobs", "mail_messages", "schema", "docs"} <= set(index)


def test_one_status_with_several_causes_names_the_cause(api: APIClient, ada: User) -> None:
    finished = make_job(Status.SUCCEEDED, user=ada)
    assert assert_problem(api.post(f"{JOBS}{finished.pk}/cancellation/"), 409)["code"] == "already_finished"
    assert assert_problem(api.post(f"{JOBS}{finished.pk}/retries/"), 409)["code"] == "not_restartable"
    make_job(user=ada, unique_key="mine")
    same = {"kind": "demo.countdown", "params": {"seconds": 0}, "unique_key": "mine"}
    assert assert_problem(api.post(JOBS, same), 409)["code"] == "unique_key_taken"
    assert assert_problem(api.get(f"{JOBS}none/"), 404)["code"] == "not_found"
    assert assert_problem(api.post(JOBS, {}), 400)["code"] == "invalid"
    assert assert_problem(client("stale").get(JOBS), 401)["code"] == "authentication_failed"
    assert assert_problem(client().get(JOBS), 401)["code"] == "not_authenticated"
