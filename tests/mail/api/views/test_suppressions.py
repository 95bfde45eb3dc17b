"""mail/suppressions/: operators see and change all, others see those that concern mail of theirs."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from rest_framework.test import APIClient

from mail.addresses.normalize import address_digest
from mail.models import Suppression
from tests.support.api_clients import assert_problem
from tests.support.factories import make_user
from tests.support.mail.messages import MAIL, make_message

pytest_plugins = ["tests.support.api_fixtures", "tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db

SUPPRESSIONS = f"{MAIL}suppressions/"
KEYS = {"address", "url", "reason", "scope", "expires_at", "source", "created_at"}


def make_suppression(address: str = "ada@example.org", **fields: Any) -> Suppression:
    usual = {"digest": address_digest(address), "address": address, "reason": "bounce", "source": "mailgun"}
    return Suppression.objects.create(**usual | fields)


def listed(api: APIClient) -> list[str]:
    return [shown["address"] for shown in api.get(SUPPRESSIONS).json()["results"]]


# --- changing ------------------------------------------------------------------------------------------------------


def test_an_operator_suppresses_looks_and_lifts(operator_api: APIClient) -> None:
    made = operator_api.post(SUPPRESSIONS, {"address": "Ada Löwe <Ada@Example.org>"})
    shown = made.json()
    assert (made.status_code, set(shown), made["Location"]) == (201, KEYS, shown["url"])
    assert (shown["address"], shown["reason"], shown["scope"]) == ("ada@example.org", "manual", "all")
    assert (shown["expires_at"], shown["source"]) == (None, "operator")
    read = operator_api.get(made["Location"])
    assert read.json() == shown
    assert operator_api.get(made["Location"], headers={"If-None-Match": read["ETag"]}).status_code == 304
    assert Suppression.objects.against("ADA@example.org", "normal")
    assert operator_api.delete(made["Location"]).status_code == 204
    for answer in (operator_api.get(made["Location"]), operator_api.delete(made["Location"])):
        assert_problem(answer, 404)


def test_suppressing_again_keeps_the_stronger_one(operator_api: APIClient) -> None:
    weak = {"address": "ada@example.org", "scope": "bulk", "expires_at": "2100-01-01T00:00:00Z"}
    strong = {"address": "ada@example.org", "reason": "complaint"}
    assert operator_api.post(SUPPRESSIONS, weak).status_code == 201
    for body in (strong, strong, weak):
        again = operator_api.post(SUPPRESSIONS, body)
        assert (again.status_code, again.json()["scope"], again.json()["reason"]) == (200, "all", "complaint")
    assert listed(operator_api) == ["ada@example.org"]
    assert operator_api.delete(f"{SUPPRESSIONS}ada@example.org/").status_code == 204
    assert listed(operator_api) == []


def test_lifting_a_bounce_does_not_forget_an_unsubscription(operator_api: APIClient) -> None:
    """Whichever came first."""
    for order in (["bounce", "unsubscribe"], ["unsubscribe", "bounce"]):
        for reason in order:
            scope = {"bounce": "all", "unsubscribe": "bulk"}[reason]
            Suppression.objects.suppress("ada@example.org", reason, scope, None, source="test")
        where = f"{SUPPRESSIONS}ada@example.org/"
        for shown in ("bounce", "unsubscribe"):
            assert listed(operator_api) == ["ada@example.org"]
            assert operator_api.get(where).json()["reason"] == shown
            assert operator_api.delete(where).status_code == 204
        assert_problem(operator_api.delete(where), 404)
        assert listed(operator_api) == []


def test_an_expired_suppression_is_not_found(operator_api: APIClient, ada: User) -> None:
    old = make_suppression(expires_at=timezone.now() - timedelta(seconds=1))
    assert listed(operator_api) == []
    assert_problem(operator_api.get(f"{SUPPRESSIONS}{old.address}/"), 404)
    assert operator_api.post(SUPPRESSIONS, {"address": old.address}).status_code == 201
    assert listed(operator_api) == [old.address]


def test_the_same_key_suppresses_once(operator_api: APIClient) -> None:
    key = {"Idempotency-Key": "k"}
    answers = [operator_api.post(SUPPRESSIONS, {"address": "a@example.org"}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"address": ...}, "address"),
        ({"address": "nobody"}, "address"),
        ({"address": "a@example.org\nb"}, "address"),
        ({"reason": "dislike"}, "reason"),
        ({"scope": "some"}, "scope"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"until": None}, "until"),
    ],
)
def test_a_bad_value_is_named(operator_api: APIClient, fields: dict[str, Any], field: str) -> None:
    body = {name: value for name, value in ({"address": "a@example.org"} | fields).items() if value is not ...}
    answer = operator_api.post(SUPPRESSIONS, body)
    assert [error["field"] for error in assert_problem(answer, 400)["errors"]] == [field]
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("a+b@example.org", "a%2Bb%40example.org"),
        ("a/b@example.org", "a%2Fb@example.org"),
        ("o'neil@example.org", "O%27Neil@EXAMPLE.org"),
        ("ada@xn--mller-kva.example", "ada@m%C3%BCller.example"),
        ("100%@example.org", "100%25@example.org"),
        ("what?@example.org", "what%3F@example.org"),
    ],
)
def test_an_address_is_found_however_it_is_written(operator_api: APIClient, address: str, path: str) -> None:
    made = operator_api.post(SUPPRESSIONS, {"address": address})
    for where in (f"{SUPPRESSIONS}{path}/", made["Location"]):
        assert operator_api.get(where).json()["address"] == address
    assert operator_api.delete(f"{SUPPRESSIONS}{path}/").status_code == 204


@pytest.mark.parametrize("address", ["nobody", "a@b@c", "%20", "a@example.org%0A", "../../messages"])
def test_an_invalid_address_is_not_found(operator_api: APIClient, address: str) -> None:
    for answer in (operator_api.get(f"{SUPPRESSIONS}{address}/"), operator_api.delete(f"{SUPPRESSIONS}{address}/")):
        assert_problem(answer, 404)


# --- who may -------------------------------------------------------------------------------------------------------


def test_others_change_nothing(api: APIClient, ada: User) -> None:
    made = make_suppression()
    make_message(user=ada)
    assert_problem(api.post(SUPPRESSIONS, {"address": "a@example.org"}), 403)
    assert_problem(api.post(SUPPRESSIONS, {}), 403)
    assert_problem(api.delete(f"{SUPPRESSIONS}{made.address}/"), 403)
    assert Suppression.objects.count() == 1


@pytest.mark.parametrize(("verb", "code"), [("add", 201), ("delete", 204), ("view", 200)])
def test_a_permission_is_enough(api: APIClient, ada: User, verb: str, code: int) -> None:
    ada.user_permissions.add(Permission.objects.get(codename=f"{verb}_suppression"))
    path = f"{SUPPRESSIONS}{make_suppression().address}/"
    answer = {
        "add": lambda: api.post(SUPPRESSIONS, {"address": "b@example.org"}),
        "delete": lambda: api.delete(path),
        "view": lambda: api.get(path),
    }[verb]()
    assert answer.status_code == code


def test_a_user_sees_the_suppressions_of_addresses_that_got_mail_from_them(api: APIClient, ada: User) -> None:
    make_suppression("bounced@example.org")
    make_suppression("other@example.org")
    make_message(user=ada, address="bounced@example.org")
    make_message(user=make_user("grace"), address="other@example.org")
    assert listed(api) == ["bounced@example.org"]
    assert api.get(f"{SUPPRESSIONS}Bounced@example.org/").json()["reason"] == "bounce"
    assert_problem(api.get(f"{SUPPRESSIONS}other@example.org/"), 404)


def test_the_list_is_paged_newest_first(operator_api: APIClient) -> None:
    now = timezone.now()
    for number in range(5):
        make_suppression(f"a{number}@example.org", created_at=now + timedelta(seconds=number // 2))
    page, found = operator_api.get(f"{SUPPRESSIONS}?page_size=2").json(), []
    while True:
        found += [shown["address"] for shown in page["results"]]
        if page["next"] is None:
            break
        page = operator_api.get(page["next"]).json()
    assert sorted(found) == [f"a{number}@example.org" for number in range(5)]
    assert found[0] == "a4@example.org"
    assert_problem(operator_api.get(f"{SUPPRESSIONS}?cursor=cD1uZXZlcg=="), 400)


def test_the_suppression_of_a_forgotten_person_is_found_by_address(operator_api: APIClient) -> None:
    made = make_suppression()
    Suppression.objects.update(address="")
    assert listed(operator_api) == []
    assert operator_api.get(f"{SUPPRESSIONS}{made.address}/").json()["address"] == made.address
