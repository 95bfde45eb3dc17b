"""Idempotency keys: one response per key, and only for the request that the key was first used with."""

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.http import HttpResponseBase
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from rest.json import JSONParser
from rest.models import IdempotencyKey
from rest.requests.idempotency import MAX_LENGTH, idempotent
from tests.support.api_clients import make_user
from tests.support.concurrency import disconnecting
from tests.support.timeouts import PATIENCE

pytestmark = pytest.mark.django_db

HEADERS = {"Location": "/things/1/", "Retry-After": "7", "X-Other": "not repeated"}


class Things(APIView):
    """Each POST makes another thing; the payload says how it ends."""

    permission_classes = (AllowAny,)
    parser_classes = (JSONParser, MultiPartParser)
    numbers = itertools.count()

    @idempotent
    def post(self, request: Request) -> Response:
        if request.data.get("status") == 204:
            return Response(status=204)
        if request.data.get("fails"):
            raise RuntimeError("it failed")
        return Response({"number": next(self.numbers)}, status=request.data.get("status", 202), headers=HEADERS)


@pytest.fixture
def post() -> Any:
    """post(payload, path=, key=, format=, user=) answers as an API client sees it."""
    users = {name: make_user(name) for name in ("ada", "bob")}

    def post(
        payload: Any = None, path: str = "/things/", key: str | None = "k", format: str = "json", user: str = "ada"
    ) -> HttpResponseBase:
        headers = {} if key is None else {"Idempotency-Key": key}
        request = APIRequestFactory().post(path, payload or {}, format=format, headers=headers)
        force_authenticate(request, users[user])
        response = Things.as_view()(request)
        return response.render() if isinstance(response, Response) else response

    return post


def replayed(response: HttpResponseBase) -> bool:
    return response.headers.get("Idempotency-Replayed") == "true"


def test_a_replay_is_the_first_response_with_its_location_and_retry_after(post: Any) -> None:
    first, second = post(), post()
    assert (first.status_code, replayed(first)) == (202, False)
    assert (second.status_code, replayed(second), second.content) == (202, True, first.content)
    assert {name: second.headers.get(name) for name in HEADERS} == HEADERS | {"X-Other": None}


@pytest.mark.parametrize("other", [{"path": "/others/"}, {"payload": {"a": 2}}, {"payload": {"a": [1]}}])
def test_a_key_that_comes_back_with_another_request_is_refused(post: Any, other: dict[str, Any]) -> None:
    post({"a": 1})
    response = post(**{"payload": {"a": 1}} | other)
    assert (response.status_code, b"idempotency_key_reused" in response.content) == (422, True)


def test_the_order_of_keys_in_a_payload_does_not_matter(post: Any) -> None:
    post({"a": 1, "b": 2})
    assert replayed(post({"b": 2, "a": 1}))


def test_a_form_is_compared_by_its_values_and_the_content_of_its_files(post: Any) -> None:
    def upload(content: bytes, **fields: Any) -> HttpResponseBase:
        return post({"file": SimpleUploadedFile("a.csv", content), "name": "a"} | fields, format="multipart")

    upload(b"a,b")
    assert replayed(upload(b"a,b"))
    assert (
        upload(b"a,c").status_code == upload(b"a,b", name="b").status_code == upload(b"a,b", more=1).status_code == 422
    )


def test_each_user_has_keys_of_their_own(post: Any) -> None:
    post()
    assert not replayed(post(user="bob"))


def test_without_a_key_every_post_counts(post: Any) -> None:
    assert post(key=None).content != post(key=None).content
    assert not IdempotencyKey.objects.exists()


def test_a_key_can_be_used_again_after_a_post_that_failed_or_created_nothing(post: Any) -> None:
    assert post({"status": 204}).status_code == 204
    assert post({"fails": True}).status_code == 500
    assert not replayed(post())


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ('"k"', "k"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("k" * MAX_LENGTH, "k" * MAX_LENGTH),
        ("a b", "a b"),
        ("!", "!"),
        ("~", "~"),
    ],
)
def test_a_plain_and_a_quoted_key_are_the_same(post: Any, key: str, same: str) -> None:
    assert not replayed(post(key=key))
    assert replayed(post(key=same))


@pytest.mark.parametrize("key", ["", '""', "k" * (MAX_LENGTH + 1), "é", '" k"', "a\tb"])
def test_an_invalid_key_is_400(post: Any, key: str) -> None:
    response = post(key=key)
    assert (response.status_code, b"Idempotency-Key" in response.content) == (400, True)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="On SQLite one request writes after the other.")
@pytest.mark.django_db(transaction=True)
def test_while_the_first_request_is_still_being_handled_the_second_is_a_conflict(post: Any) -> None:
    first, second = threading.Event(), threading.Event()

    def handle_slowly() -> None:
        with transaction.atomic():
            IdempotencyKey.objects.create(user=User.objects.get(username="ada"), key="k", fingerprint="of the first")
            first.set()
            assert second.wait(PATIENCE)
            transaction.set_rollback(True)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(disconnecting, handle_slowly)
        assert first.wait(PATIENCE)
        answer = post()
        second.set()
        slow.result()
    assert (answer.status_code, answer["Retry-After"]) == (409, "1")
    assert json.loads(answer.content)["code"] == "idempotency_key_in_use"
    assert (post().status_code, replayed(post())) == (202, True)
