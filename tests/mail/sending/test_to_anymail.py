"""Inline images, tracking, test mode, and the header fields of bulk mail and alerts: from the API to the provider."""

import base64
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from mail import alerts
from mail.models import Attachment, Message
from tests.support.api_clients import assert_problem
from tests.support.mail.broadcasts import make_template, run, upload
from tests.support.mail.broadcasts import post as post_broadcast
from tests.support.mail.messages import make_message, post, url
from tests.support.mail.sending import classes, sending_by, work_on
from tests.support.servers.simulator import Simulator

pytest_plugins = ["tests.support.api_fixtures", "tests.support.mail.simulator_fixtures"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("mailgun")]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LOGO = {
    "filename": "logo.png",
    "content_type": "image/png",
    "content": base64.b64encode(PIXEL).decode(),
    "content_id": "logo",
}


def sent(mailgun: Simulator, message: Message) -> dict[str, Any]:
    """The mail as the provider has it, with the names of header fields in lower case."""
    work_on(message)
    found = mailgun.message(message.attempts.get().provider_message_id)
    return found | {"headers": {name.lower(): line for name, line in found["headers"].items()}}


def refused(answer: Any) -> list[tuple[str, str]]:
    assert not Message.objects.exists()
    return [(error["field"], error["code"]) for error in assert_problem(answer, 400)["errors"]]


# --- inline images -------------------------------------------------------------------------------------------------


def test_an_inline_image_goes_with_the_html_that_shows_it(api: APIClient, mailgun: Simulator) -> None:
    plain = {"filename": "a.txt", "content_type": "text/plain", "content": "SGk="}
    answer = post(api, html='<img src="cid:logo">', attachments=[LOGO, plain])
    assert answer.status_code == 202
    files = sent(mailgun, Message.objects.get())["files"]
    assert files == [
        {"field": "inline", "name": "logo", "type": "image/png", "size": len(PIXEL)},
        {"field": "attachment", "name": "a.txt", "type": "text/plain", "size": 2},
    ]


def test_a_resend_keeps_inline_images(api: APIClient, ada: User) -> None:
    old = make_message("bounced", user=ada)
    Attachment.objects.create(message=old, filename="a.png", content_type="image/png", content=PIXEL, content_id="logo")
    new = api.post(url(old, "resends")).json()
    assert Attachment.objects.get(message=new["id"]).content_id == "logo"


@pytest.mark.parametrize(
    ("change", "more", "wrong"),
    [
        ({"content_id": "a b"}, {}, ("attachments.0.content_id", "invalid")),
        ({"content_id": "<a@b>"}, {}, ("attachments.0.content_id", "invalid")),
        ({"content_id": "a\r\nX: y"}, {}, ("attachments.0.content_id", "line")),
        ({"content_id": ""}, {}, ("attachments.0.content_id", "blank")),
        ({"content_id": "a" * 101}, {}, ("attachments.0.content_id", "max_length")),
        ({"content_id": 5}, {}, ("attachments.0.content_id", "invalid")),
        ({"content_type": "text/html"}, {}, ("attachments.0.content_type", "image")),
        ({"content_type": None}, {}, ("attachments.0.content_type", "image")),
        ({}, {"html": None}, ("attachments", "html")),
    ],
)
def test_an_invalid_inline_image_is_refused(
    api: APIClient, change: dict[str, Any], more: dict[str, Any], wrong: tuple[str, str]
) -> None:
    answer = post(api, **{"html": '<img src="cid:logo">', "attachments": [LOGO | change]} | more)
    assert refused(answer) == [wrong]


def test_two_images_with_the_same_content_id_are_refused(api: APIClient) -> None:
    assert refused(post(api, html="<p>", attachments=[LOGO, LOGO])) == [("attachments", "duplicate")]


# --- tracking and test mode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {}),
        (
            {"track_opens": True, "track_clicks": False},
            {"tracking-opens": "yes", "tracking-clicks": "no"},
        ),
        ({"track_opens": False, "track_clicks": None}, {"tracking-opens": "no"}),
        ({"test_mode": True}, {"testmode": "yes"}),
        ({"test_mode": False}, {}),
    ],
)
def test_tracking_and_test_mode_are_passed_to_the_provider(
    api: APIClient, mailgun: Simulator, given: dict[str, Any], options: dict[str, str]
) -> None:
    shown = api.get(post(api, **given).json()["url"]).json()
    assert shown["test_mode"] is given.get("test_mode", False)
    assert (shown["track_opens"], shown["track_clicks"]) == (given.get("track_opens"), given.get("track_clicks"))
    assert sent(mailgun, Message.objects.get())["options"] == options


def test_a_broadcast_passes_tracking_and_test_mode_to_its_messages(api: APIClient, ada: User) -> None:
    make_template(ada)
    said = {"track_opens": False, "track_clicks": True, "test_mode": True}
    run(post_broadcast(api, **said))
    run(upload(api, "to,name\na@example.org,A\n", track_opens="false", track_clicks="true", test_mode="true"))
    found = Message.objects.values_list("track_opens", "track_clicks", "test_mode").distinct()
    assert list(found.order_by()) == [(False, True, True)]
    assert Message.objects.count() == 4


@pytest.mark.parametrize("name", ["track_opens", "track_clicks", "test_mode"])
@pytest.mark.parametrize("value", ["true", "yes", 1, 0, "", [], {}])
def test_tracking_and_test_mode_take_only_true_and_false(api: APIClient, ada: User, name: str, value: Any) -> None:
    assert refused(post(api, **{name: value})) == [(name, "invalid")]
    make_template(ada)
    assert refused(post_broadcast(api, **{name: value})) == [(name, "invalid")]
    assert refused(upload(api, "to,name\na@example.org,A\n", **{name: "yes"})) == [(name, "invalid")]


def test_a_provider_without_a_test_mode_gets_no_test(mailgun: Simulator, settings: Any) -> None:
    message = make_message(test_mode=True)
    other = {"name": "mailjet", "backend": "anymail.backends.mailjet.EmailBackend"}
    with sending_by(settings, other | {"options": {"api_key": "k", "secret_key": "s", "api_url": mailgun.api_url}}):
        work_on(message)
    assert (message.status, classes(message)) == ("rejected", [("permanent", "invalid")])
    assert message.failure == {"class": "invalid", "detail": "mailjet has no test mode"}


# --- header fields -------------------------------------------------------------------------------------------------


def test_bulk_mail_names_its_list(mailgun: Simulator, ada: User) -> None:
    message = make_message(importance="bulk", user=ada, stream="news")
    headers = sent(mailgun, message)["headers"]
    assert headers["list-id"] == f"<news.{ada.pk}.mg.example.org>"
    assert headers["feedback-id"] == f"single:{ada.pk}:news:legwork"
    other = sent(mailgun, make_message(importance="bulk", user=ada))["headers"]
    assert (other["list-id"], other["feedback-id"]) == (
        f"<bulk.{ada.pk}.mg.example.org>",
        f"single:{ada.pk}:bulk:legwork",
    )


def test_mail_of_a_broadcast_names_it(mailgun: Simulator, api: APIClient, ada: User) -> None:
    make_template(ada)
    answer = post_broadcast(api)
    run(answer)
    message = Message.objects.earliest("row")
    assert sent(mailgun, message)["headers"]["feedback-id"].startswith(f"{answer.json()['id']}:")


def test_a_sender_may_name_the_list_itself(mailgun: Simulator, ada: User) -> None:
    message = make_message(importance="bulk", user=ada, headers={"list-id": "<mine.example.org>"})
    work_on(message)
    headers = mailgun.message(message.attempts.get().provider_message_id)["headers"]
    assert [line for name, line in headers.items() if name.lower() == "list-id"] == ["<mine.example.org>"]


@pytest.mark.parametrize("importance", ["normal", "critical"])
def test_other_mail_belongs_to_no_list(mailgun: Simulator, importance: str) -> None:
    assert not {"list-id", "feedback-id"} & set(sent(mailgun, make_message(importance=importance))["headers"])


def test_alerts_are_marked_as_auto_generated(mailgun: Simulator, settings: Any) -> None:
    settings.MAIL_ALERT_TO = "operator@example.org"
    alerts.alert("test", "something")
    assert alerts.send_unsent("test") == 1
    [mail] = mailgun.messages()
    assert mailgun.message(mail["id"])["headers"]["Auto-Submitted"] == "auto-generated"
