"""Users and clients of the API in tests, how they log in, and what every error looks like."""

import base64
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from rest_framework.test import APIClient

from project.models import Token

PASSWORD = "a-good-password"
TOKENS, CURRENT, SESSION = "/api/v1/tokens/", "/api/v1/tokens/current/", "/api/v1/session/"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"


def make_user(name: str, **more: Any) -> User:
    return User.objects.create_user(name, password=PASSWORD, **more)


def make_token(user: User, **more: Any) -> str:
    return Token.objects.create(user, **more)[1]


def client(key: str = "", **more: Any) -> APIClient:
    return APIClient(headers={"Authorization": f"Token {key}"} if key else None, **more)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def log_in(name: str = "ada", password: str = PASSWORD, **more: Any) -> HttpResponse:
    return client().post(TOKENS, {"username": name, "password": password}, **more)


def browser_with_csrf(**more: Any) -> Client:
    browser = Client(enforce_csrf_checks=True, **more)
    browser.get(SESSION)
    return browser


def csrf(browser: Client) -> dict[str, str]:
    return {"X-CSRFToken": browser.cookies["csrftoken"].value}


def post_session(browser: Client, password: str = PASSWORD, **headers: str) -> HttpResponse:
    data = {"username": "ada", "password": password}
    return browser.post(SESSION, data, content_type="application/json", headers=headers)


def assert_problem(answer: HttpResponse, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert "X-Request-ID" in answer
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert body["status"] == status
    return body
