"""Streams: a name on a message, with suppressions and figures of its own."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from mail.addresses.normalize import address_digest
from mail.models import Message, Stream, StreamSuppression, Suppression
from mail.status import Status
from mail.unsubscribe.one_click import headers_for
from tests.support.api_clients import assert_problem, client, make_token, make_user
from tests.support.mail.broadcasts import make_template, run
from tests.support.mail.broadcasts import post as post_broadcast
from tests.support.mail.mailgun_webhooks import ADA
from tests.support.mail.messages import MAIL, MESSAGES, make_message, post, url
from tests.support.mail.sending import NOBODY, provider, sending_by, work_on

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

STREAMS = f"{MAIL}streams/"
CLICK = {"List-Unsubscribe": "One-Click"}


def suppress(user: User, stream: str = "news", address: str = ADA) -> None:
    StreamSuppression.objects.add(user.pk, stream, address_digest(address), address, "test")


def click(message: Message, said: dict[str, str] = CLICK) -> Any:
    path = urlsplit(headers_for(message)["List-Unsubscribe"].strip("<>")).path
    return Client(enforce_csrf_checks=True).post(path, said)


# --- on messages ---------------------------------------------------------------------------------------------------


def test_a_message_belongs_to_its_stream(api: APIClient, ada: User) -> None:
    shown = post(api, stream="news").json()
    assert (shown["stream"], Message.objects.get().stream, Stream.objects.get().name) == ("news", "news", "news")
    post(api)
    assert [each["id"] for each in api.get(MESSAGES, {"stream": "news"}).json()["results"]] == [shown["id"]]
    assert [each["name"] for each in api.get(STREAMS).json()["results"]] == ["news"]


def test_a_message_of_no_stream_says_so(api: APIClient) -> None:
    assert post(api, stream=None).json()["stream"] is None
    assert not Stream.objects.exists()


@pytest.mark.parametrize("stream", ["", "News", "a b", "-a", "_a", "ä", "a" * 51, "a\n", "a.b", 5, True, ["news"], {}])
def test_an_invalid_name_of_a_stream_is_refused(api: APIClient, ada: User, stream: Any) -> None:
    make_template(ada)
    for answer in (post(api, stream=stream), post_broadcast(api, stream=stream)):
        assert [error["field"] for error in assert_problem(answer, 400)["errors"]] == ["stream"]
    assert not Stream.objects.exists()


def test_a_batch_and_a_broadcast_make_their_streams(api: APIClient, ada: User) -> None:
    make_template(ada)
    one = {"to": ADA, "subject": "Hi", "text": "There"}
    api.post(f"{MESSAGES}batch/", {"messages": [one | {"stream": name} for name in ("a", "b", "a")]})
    run(post_broadcast(api, stream="c"))
    assert sorted(Stream.objects.values_list("name", flat=True)) == ["a", "b", "c"]
    assert Message.objects.filter(stream="c").count() == 3


def test_an_empty_filter_is_refused(api: APIClient) -> None:
    assert_problem(api.get(MESSAGES, {"stream": ""}), 400)


# --- suppressions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "importance", "whose", "suppressed"),
    [
        ("news", "bulk", "ada", True),
        ("news", "normal", "ada", True),
        ("news", "critical", "ada", False),
        ("offers", "bulk", "ada", False),
        ("", "bulk", "ada", False),
        ("news", "bulk", "eve", False),
    ],
)
def test_a_suppression_of_a_stream_holds_for_that_stream_of_its_user(
    ada: User, settings: Any, stream: str, importance: str, whose: str, suppressed: bool
) -> None:
    suppress(ada)
    user = ada if whose == "ada" else make_user("eve")
    message = make_message(user=user, stream=stream, importance=importance)
    with sending_by(settings, provider(NOBODY)):
        work_on(message)
    assert (message.status == Status.SUPPRESSED) is suppressed
    if suppressed:
        assert message.events.get().detail == "it gets no mail of the stream news"


def test_a_broadcast_counts_recipients_that_its_stream_suppresses(api: APIClient, ada: User) -> None:
    make_template(ada)
    suppress(ada, address="reader1@example.org")
    assert run(post_broadcast(api, stream="news"))["suppressed"] == 1
    assert run(post_broadcast(api))["suppressed"] == 0


def test_nothing_is_resent_to_recipients_that_the_stream_suppresses(api: APIClient, ada: User) -> None:
    suppress(ada)
    old = make_message(Status.BOUNCED, user=ada, stream="news", importance="bulk")
    assert_problem(api.post(url(old, "resends")), 422)
    other = make_message(Status.BOUNCED, user=ada, stream="offers", importance="bulk")
    assert api.post(url(other, "resends")).json()["stream"] == "offers"


def test_one_click_ends_one_stream_and_not_all(ada: User) -> None:
    message = make_message(user=ada, stream="news", importance="bulk")
    assert b"news" in click(message).content
    assert click(message).status_code == 200
    kept = StreamSuppression.objects.get()
    assert (kept.user, kept.stream, kept.address, kept.source) == (ada, "news", ADA, "one-click")
    assert not Suppression.objects.exists()
    assert message.events.filter(type="one-click").count() == 1


def test_the_page_of_a_stream_offers_to_end_all_bulk_mail(ada: User) -> None:
    message = make_message(user=ada, stream="news", importance="bulk")
    path = urlsplit(headers_for(message)["List-Unsubscribe"].strip("<>")).path
    assert b'value="All"' in Client().get(path).content
    assert click(message, {"List-Unsubscribe": "All"}).status_code == 200
    assert Suppression.objects.get().scope == "bulk"
    assert not StreamSuppression.objects.exists()


def test_the_link_of_a_stream_outlives_its_message_and_its_user(ada: User) -> None:
    message = make_message(user=ada, stream="news", importance="bulk")
    headers = headers_for(message)
    message.delete()
    path = urlsplit(headers["List-Unsubscribe"].strip("<>")).path
    assert Client().post(path, CLICK).status_code == 200
    assert StreamSuppression.objects.get().address == ""
    ada.delete()
    assert Client().post(path, CLICK).status_code == 200
    assert Suppression.objects.get().scope == "bulk"


# --- over HTTP -----------------------------------------------------------------------------------------------------

SUPPRESSIONS = f"{STREAMS}news/suppressions/"


def test_an_owner_changes_who_gets_a_stream(api: APIClient) -> None:
    made = api.post(SUPPRESSIONS, {"address": "Ada <ADA@example.org>"})
    assert (made.status_code, made.json()["address"], made.json()["source"]) == (201, ADA, "ada")
    assert api.post(SUPPRESSIONS, {"address": ADA}).status_code == 200
    assert api.get(made["Location"]).json() == made.json()
    assert api.get(SUPPRESSIONS).json()["results"] == [made.json()]
    assert api.delete(made["Location"]).status_code == 204
    for answer in (api.get(made["Location"]), api.delete(made["Location"])):
        assert_problem(answer, 404)


def test_a_stream_is_shown_with_its_figures(api: APIClient, ada: User) -> None:
    Stream.objects.ensure([(ada.pk, "news")])
    for status in (Status.DELIVERED, Status.DELIVERED, Status.BOUNCED):
        make_message(status, user=ada, stream="news")
    make_message(Status.DELIVERED, user=ada)
    shown = api.get(f"{STREAMS}news/").json()
    assert (shown["name"], shown["figures"]) == ("news", {"bounced": 1, "delivered": 2})
    assert api.get(shown["suppressions"]).json()["results"] == []


def test_nobody_sees_or_changes_streams_of_others(api: APIClient, ada: User) -> None:
    api.post(SUPPRESSIONS, {"address": ADA})
    eve = client(make_token(make_user("eve")))
    assert eve.get(STREAMS).json()["results"] == []
    for answer in (eve.get(f"{STREAMS}news/"), eve.get(SUPPRESSIONS), eve.delete(f"{SUPPRESSIONS}{ADA}/")):
        assert_problem(answer, 404)
    assert StreamSuppression.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "address"), ({"address": "nobody"}, "address"), ({"address": ADA, "scope": "all"}, "scope"), ([], "")],
)
def test_an_invalid_suppression_is_refused(api: APIClient, body: Any, field: str) -> None:
    problem = assert_problem(api.post(SUPPRESSIONS, body), 400)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert not StreamSuppression.objects.exists()


@pytest.mark.parametrize("name", ["News", "_a", "a" * 51])
def test_a_stream_with_an_invalid_name_is_not_found(api: APIClient, name: str) -> None:
    assert_problem(api.post(f"{STREAMS}{name}/suppressions/", {"address": ADA}), 404)
    assert_problem(api.get(f"{STREAMS}{name}/"), 404)
    assert not Stream.objects.exists()
