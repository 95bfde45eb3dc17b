"""Bulk mail ends with one click (RFC 8058), and with a click only."""

import re
from datetime import timedelta
from urllib.parse import unquote, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.signing import Signer
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from mail.addresses.normalize import address_digest
from mail.importance import Importance
from mail.models import Message, Suppression, Template
from mail.reasons import Reason, Scope
from mail.unsubscribe.one_click import headers_for
from tests.support.api_clients import assert_problem
from tests.support.mail import messages
from tests.support.mail.broadcasts import make_template, run
from tests.support.mail.broadcasts import post as post_broadcast
from tests.support.mail.mailgun_webhooks import ADA, make_sent_message

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

CLICK = {"List-Unsubscribe": "One-Click"}


def link_of(message: Message) -> str:
    return urlsplit(headers_for(message)["List-Unsubscribe"].strip("<>")).path


def make_link(**fields: str) -> str:
    return link_of(make_sent_message(importance=Importance.BULK, **fields))


def browser() -> Client:
    return Client(enforce_csrf_checks=True)


def test_bulk_mail_carries_the_link_and_other_mail_does_not() -> None:
    headers = headers_for(make_sent_message(importance=Importance.BULK))
    assert re.fullmatch(r"<http://127\.0\.0\.1:8000/unsubscribe/[\w.-]+/>", headers["List-Unsubscribe"])
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert headers_for(make_sent_message(importance=Importance.NORMAL)) == {}
    assert headers_for(make_sent_message(importance=Importance.CRITICAL)) == {}


def test_the_link_gives_no_address_away() -> None:
    # A long name: the random letters of ids and signatures contain "ada" now and then.
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
def test_a_post_without_the_one_click_field_does_nothing(body: dict[str, str]) -> None:
    assert browser().post(make_link(), body).status_code == 400
    assert not Suppression.objects.exists()


def test_a_wider_suppression_stays() -> None:
    Suppression.objects.suppress(ADA, Reason.COMPLAINT, Scope.ALL, None, source="mailgun")
    browser().post(make_link(), CLICK)
    assert Suppression.objects.against(ADA, Importance.BULK).scope == Scope.ALL


def test_an_unsubscription_outlasts_a_wider_temporary_suppression() -> None:
    """Nor does the unsubscription shorten a suppression of 90 days."""
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
    assert Suppression.objects.against(ADA, Importance.BULK).digest == address_digest(ADA)
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


# --- the link in templates -----------------------------------------------------------------------------------------

SHOWS_THE_LINK = "Stop: {{ unsubscribe_url }}"


def test_templates_of_bulk_mail_know_the_link(api: APIClient) -> None:
    answer = messages.post(api, importance="bulk", text=SHOWS_THE_LINK, html="<a href='{{ unsubscribe_url }}'>Stop</a>")
    assert answer.status_code == 202
    message = Message.objects.get()
    url = headers_for(message)["List-Unsubscribe"].strip("<>")
    assert (message.text, message.html) == (f"Stop: {url}", f"<a href='{url}'>Stop</a>")
    assert browser().post(urlsplit(url).path, CLICK).status_code == 200
    assert Suppression.objects.get().address == ADA


def test_templates_of_broadcasts_know_the_link_of_each_message(api: APIClient, ada: User) -> None:
    make_template(ada)
    Template.objects.update(text=SHOWS_THE_LINK)
    run(post_broadcast(api))
    links = {message.text for message in Message.objects.all()}
    assert links == {f"Stop: {headers_for(each)['List-Unsubscribe'].strip('<>')}" for each in Message.objects.all()}
    assert len(links) == 3


@pytest.mark.parametrize("importance", ["normal", "critical"])
def test_other_mail_with_the_link_is_refused(api: APIClient, importance: str) -> None:
    answer = messages.post(api, importance=importance, text=SHOWS_THE_LINK)
    assert [error["field"] for error in assert_problem(answer, 400)["errors"]] == ["text"]
    assert messages.post(api, importance=importance, text="{{ unsubscribe_url|default:'' }}.").status_code == 202


def test_a_sender_may_name_an_unsubscribe_page_of_its_own(api: APIClient) -> None:
    own = {"unsubscribe_url": "https://example.org/stop"}
    assert messages.post(api, text=SHOWS_THE_LINK, context=own).status_code == 202
    assert Message.objects.get().text == "Stop: https://example.org/stop"


def test_a_preview_shows_a_link_that_belongs_to_nobody(api: APIClient, ada: User) -> None:
    make_template(ada)
    Template.objects.update(text=SHOWS_THE_LINK)
    shown = api.post("/api/v1/mail/templates/news/preview/", {"context": {"name": "Ada"}}).json()
    assert shown["text"] == "Stop: http://127.0.0.1:8000/unsubscribe/preview/"
