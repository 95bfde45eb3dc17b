"""The audit trail: who did what, as log events without names, passwords or keys."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient
from structlog.testing import capture_logs

from tests.support.api_clients import (
    CURRENT,
    PASSWORD,
    SESSION,
    TOKENS,
    browser_with_csrf,
    client,
    csrf,
    log_in,
    make_user,
    post_session,
)

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

TEMPLATE, SUPPRESSIONS = "/api/v1/mail/templates/hello/", "/api/v1/mail/suppressions/"
ADDRESS = "eve@example.org"


def events(logs: list[Any], *names: str) -> list[dict[str, Any]]:
    return [{name: line[name] for name in line if name != "log_level"} for line in logs if line["event"] in names]


def test_logins_and_logouts_are_logged(ada: User) -> None:
    browser = browser_with_csrf()
    with capture_logs() as logs:
        post_session(browser, **csrf(browser))
        browser.delete(SESSION, headers=csrf(browser))
    assert events(logs, "login", "logout") == [
        {"event": "login", "user_id": ada.pk},
        {"event": "logout", "user_id": ada.pk},
    ]


def test_failed_logins_are_logged_at_every_door_without_what_was_typed(ada: User) -> None:
    browser = browser_with_csrf()
    with capture_logs() as logs:
        log_in(password="hunter2")
        post_session(browser, password="hunter2", **csrf(browser))
        Client().post("/admin/login/", {"username": "ada", "password": "hunter2"})
        log_in(name="hunter3")
    failed = {"event": "login_failed"}
    assert events(logs, "login_failed") == [failed | {"user_id": ada.pk}] * 3 + [failed | {"user_id": None}]
    assert "hunter" not in str(logs)


def test_tokens_are_logged_by_id_and_never_by_key(ada: User) -> None:
    with capture_logs() as logs:
        made = log_in().json()
        client(made["token"]).delete(CURRENT)
        other = log_in().json()
        client(other["token"]).delete(f"{TOKENS}{log_in().json()['id']}/")
    ended = [line["token_id"] for line in events(logs, "token_ended")]
    created = [line["token_id"] for line in events(logs, "token_created")]
    assert created == [made["id"], other["id"], ended[1]]
    assert ended[0] == made["id"]
    assert {line["user_id"] for line in events(logs, "token_created", "token_ended")} == {ada.pk}
    assert made["token"] not in str(logs)


def test_templates_and_suppressions_are_logged(api: APIClient, ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(is_staff=True, is_superuser=True)
    with capture_logs() as logs:
        api.put(TEMPLATE, {"subject": "Hi", "text": "There"})
        api.delete(TEMPLATE)
        api.post(SUPPRESSIONS, {"address": ADDRESS})
        api.delete(f"{SUPPRESSIONS}{ADDRESS}/")
    names = ["template_saved", "template_deleted", "address_suppressed", "suppression_lifted"]
    found = events(logs, *names)
    assert [line["event"] for line in found] == names
    assert {line["user_id"] for line in found} == {ada.pk}
    assert ADDRESS not in str(found)


def test_what_is_done_in_the_admin_is_logged(admin_client: Client, admin_user: User) -> None:
    with capture_logs() as logs:
        added = {"username": "eve", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
        admin_client.post("/admin/auth/user/add/", added)
    eve = User.objects.get(username="eve")
    [line] = events(logs, "admin_action")
    assert line == {
        "event": "admin_action",
        "user_id": admin_user.pk,
        "action": "added",
        "model": "user",
        "object_id": str(eve.pk),
    }


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_deleted_in_the_admin_is_logged_one_by_one(admin_client: Client, admin_user: User, count: int) -> None:
    users = [str(make_user(f"user{number}").pk) for number in range(count)]
    chosen = {"action": "delete_selected", "_selected_action": users}
    with capture_logs() as logs:
        admin_client.post("/admin/auth/user/", chosen)
        assert not events(logs, "admin_action"), "it asks first"
        admin_client.post("/admin/auth/user/", chosen | {"post": "yes"})
    assert not User.objects.filter(pk__in=users).exists()
    deleted = {"event": "admin_action", "user_id": admin_user.pk, "action": "deleted", "model": "user"}
    assert sorted(events(logs, "admin_action"), key=str) == [deleted | {"object_id": pk} for pk in sorted(users)]
