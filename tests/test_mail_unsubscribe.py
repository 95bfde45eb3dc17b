"""Bulk mail ends with one click (RFC 8058), and with a click only."""

import re
from datetime import timedelta
from urllib.parse import unquote, urlsplit

import pytest
from django.core.signing import Signer
from django.test import Client
from django.utils import timezone

from mail.addresses import digest
from mail.importance import Importance
from mail.models import Message, Suppression
from mail.reasons import Reason, Scope
from mail.unsubscribe import headers_for
from tests.mailgun import ADA, make_message

pytestmark = pytest.mark.django_db

CLICK = {"List-Unsubscribe": "One-Click"}


def link_of(message: Message) -> str:
    return urlsplit(headers_for(message)["List-Unsubscribe"].strip("<>")).path


def make_link(**fields: str) -> str:
    return link_of(make_message(importance=Importance.BULK, **fields))


def browser() -> Client:
    return Client(enforce_csrf_checks=True)


def test_bulk_mail_carries_the_link_and_other_mail_does_not() -> None:
    headers = headers_for(make_message(importance=Importance.BULK))
    assert re.fullmatch(r"<http://127\.0\.0\.1:8000/unsubscribe/[\w.-]+/>", headers["List-Unsubscribe"])
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert headers_for(make_message(importance=Importance.NORMAL)) == {}
    assert headers_for(make_message(importance=Importance.CRITICAL)) == {}


def test_the_link_gives_no_address_away() -> None:
    # A long name, for ids and signatures are random letters: they say "ada" now and then.
    link = unquote(make_link(address="countess.lovelace@example.org")).lower()
    for part in ("@", "countess", "lovelace", "example"):
        assert part not in link


@pytest.mark.parametrize("method", ["get", "head"])
def test_to_look_at_the_page_changes_nothing(method: str) -> None:
    answer = getattr(browser(), method)(make_link())
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/html")
    assert not answer.cookies
    assert not Suppression.objects.exists()
    if method == "get":
        assert b"a***@example.org" in answer.content
        assert b"<button" in answer.content


def test_one_click_is_enough_and_a_second_does_no_more() -> None:
    link = make_link()
    for _ in range(2):
        answer = browser().post(link, CLICK)
        assert answer.status_code == 200
        assert not answer.cookies
    suppressed = Suppression.objects.get()
    assert (suppressed.address, suppressed.scope) == (ADA, Scope.BULK)
    assert (suppressed.reason, suppressed.source, suppressed.expires_at) == (Reason.UNSUBSCRIBE, "one-click", None)
    assert Message.objects.get().events.filter(type="one-click").count() == 1


def test_a_mail_program_posts_a_form_of_either_kind() -> None:
    for body, content_type in [
        ("List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        (
            '--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
    ]:
        Suppression.objects.all().delete()
        assert browser().post(make_link(), body, content_type=content_type).status_code == 200
        assert Suppression.objects.exists()


@pytest.mark.parametrize("body", [{}, {"List-Unsubscribe": "Two-Clicks"}, {"List-Unsubscribe": ""}])
def test_a_post_that_does_not_say_so_does_nothing(body: dict[str, str]) -> None:
    assert browser().post(make_link(), body).status_code == 400
    assert not Suppression.objects.exists()


def test_what_forbids_more_stays() -> None:
    Suppression.objects.suppress(ADA, Reason.COMPLAINT, Scope.ALL, None, source="mailgun")
    browser().post(make_link(), CLICK)
    assert Suppression.objects.against(ADA, Importance.BULK).scope == Scope.ALL


def test_the_wish_outlasts_what_forbade_more_for_a_while() -> None:
    """A suppression of 90 days is not shortened by it either."""
    now = timezone.now()
    Suppression.objects.suppress(ADA, Reason.SOFT_BOUNCES, Scope.ALL, now + timedelta(days=90), source="mailgun")
    browser().post(make_link(), CLICK)
    assert Suppression.objects.against(ADA, Importance.NORMAL).reason == Reason.SOFT_BOUNCES
    Suppression.objects.filter(scope=Scope.ALL).update(expires_at=now)
    assert Suppression.objects.against(ADA, Importance.NORMAL) is None
    assert Suppression.objects.against(ADA, Importance.BULK).reason == Reason.UNSUBSCRIBE


def test_a_link_outlives_its_message() -> None:
    link = make_link()
    Message.objects.all().delete()
    assert browser().get(link).status_code == 200
    assert browser().post(link, CLICK).status_code == 200
    assert Suppression.objects.against(ADA, Importance.BULK).digest == digest(ADA)
    assert Suppression.objects.against(ADA, Importance.NORMAL) is None
    assert Suppression.objects.get().address == ""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path[:-2] + "/",
        lambda path: path.replace("/unsubscribe/", "/unsubscribe/0"),
        lambda path: "/unsubscribe/x/",
        lambda path: "/unsubscribe/%F0%9F/",
        lambda path: "/unsubscribe/%E2%82%AC.%E2%82%AC/",
        lambda path: f"/unsubscribe/{Signer(salt='another', sep='.').sign('0' * 96)}/",
        lambda path: f"/unsubscribe/{Signer(salt='mail.unsubscribe', sep='.').sign('nobody')}/",
    ],
)
def test_a_link_that_is_not_ours_is_a_page_that_says_so(spoil: object) -> None:
    path = spoil(make_link())  # type: ignore[operator]
    for answer in [browser().get(path), browser().post(path, CLICK)]:
        assert answer.status_code == 404
        assert answer["Content-Type"].startswith("text/html")
        assert b"not complete" in answer.content
    assert not Suppression.objects.exists()


def test_other_methods_are_not_allowed() -> None:
    assert browser().delete(make_link()).status_code == 405
    assert not Suppression.objects.exists()
