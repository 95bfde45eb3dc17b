"""Broadcasts over HTTP: one message an address, missing variables, permission, the list of messages, and options
for all messages."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from jobs.models import Job
from mail.broadcasts import fan_out
from mail.models import Broadcast, Message, Template
from tests.support.api_clients import assert_problem, client, make_token, make_user
from tests.support.mail.broadcasts import BROADCASTS, allow_normal, make_template, post, recipients, run, upload
from tests.support.mail.messages import MESSAGES, make_message

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

OPTIONS = {
    "from": "News <news@mg.example.org>",
    "reply_to": ["desk@example.org"],
    "tags": ["june", "news"],
    "expires_at": "2100-01-01T00:00:00Z",
}


@pytest.fixture
def news(ada: User) -> Template:
    return make_template(ada)


def errors_of(result: dict[str, Any]) -> list[tuple[int, str, str]]:
    return [(bad["row"], error["field"], error["code"]) for bad in result["errors"] for error in bad["errors"]]


# --- one message an address ----------------------------------------------------------------------------------------


def test_a_repeated_address_gets_one_message_and_is_reported(api: APIClient, news: Template) -> None:
    rows = [*recipients(2), {"to": "Reader <READER0@example.org>", "context": {"name": "again"}}]
    result = run(post(api, recipients=rows))
    assert (result["accepted"], result["refused"], errors_of(result)) == (2, 1, [(3, "to", "duplicate")])
    assert Message.objects.get(address="reader0@example.org").text == "Dear R0"


def test_an_address_of_an_earlier_chunk_gets_no_second_message(
    api: APIClient, news: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out, "CHUNK_SIZE", 2)
    result = run(post(api, recipients=[*recipients(4), *recipients(1)]))
    assert (result["accepted"], errors_of(result)) == (4, [(5, "to", "duplicate")])


def test_the_second_row_of_an_address_counts_when_the_first_is_a_bad_one(api: APIClient, news: Template) -> None:
    result = run(post(api, recipients=[{"to": "reader0@example.org", "context": {}}, *recipients(1)]))
    assert (result["accepted"], errors_of(result)) == (1, [(1, "context.name", "required")])


# --- missing variables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("{{ name }}{{ city }}", "city"),
        ("{{ city.name|upper }}", "city.name"),
        ("{% for item in items %}{{ item }}{% endfor %}x", "items"),
        ("{% with a=city %}{{ a }}{% endwith %}", "city"),
        ("{{ city|default:'Paris' }}", ""),
        ("{% if city %}{{ city }}{% endif %}x", ""),
        ("{% for item in items %}{{ item }}{% empty %}none{% endfor %}", ""),
        ("{% firstof city name %}", ""),
        ("{% for item in 'ab' %}{{ forloop.counter }}{% endfor %}", ""),
    ],
)
def test_a_variable_that_a_row_lacks_and_the_template_needs_is_a_bad_row(
    api: APIClient, news: Template, text: str, lacks: str
) -> None:
    Template.objects.update(text=text)
    result = run(post(api, recipients=recipients(1)))
    assert errors_of(result) == ([(1, f"context.{lacks}", "required")] if lacks else [])
    assert result["accepted"] == (0 if lacks else 1)


def test_a_single_message_may_lack_variables_as_in_django(api: APIClient) -> None:
    answer = api.post(MESSAGES, {"to": "ada@example.org", "subject": "Hi", "text": "Dear {{ name }}"})
    assert (answer.status_code, Message.objects.get().text) == (202, "Dear ")


# --- importance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("importance", "may", "status"),
    [
        ("bulk", False, 202),
        (None, False, 202),
        ("normal", False, 403),
        ("normal", True, 202),
        ("critical", False, 403),
        ("critical", True, 400),
    ],
)
def test_a_broadcast_is_bulk_unless_its_user_may_send_others(
    api: APIClient, ada: User, news: Template, importance: str | None, may: bool, status: int
) -> None:
    if may:
        allow_normal(ada)
    answer = post(api, importance=importance)
    assert answer.status_code == status
    if status == 202:
        assert Broadcast.objects.get().importance == (importance or "bulk")
    else:
        assert_problem(answer, status)
        assert not Broadcast.objects.exists()


# --- the messages --------------------------------------------------------------------------------------------------


def test_the_result_says_where_the_messages_are_listed(api: APIClient, ada: User, news: Template) -> None:
    make_message(user=ada)
    answer = post(api)
    result = run(answer)
    listed = api.get(result["messages"]).json()["results"]
    assert [message["to"] for message in listed] == [f"reader{n}@example.org" for n in (2, 1, 0)]
    shown = api.get(listed[0]["url"]).json()
    assert (shown["broadcast"], shown["text"], shown["html"]) == (answer["Location"], "Dear R2", "<b>R2</b>")
    assert api.get(shown["broadcast"]).json()["id"] == answer.json()["id"]


def test_nobody_else_lists_the_messages(api: APIClient, news: Template) -> None:
    result = run(post(api))
    eve = client(make_token(make_user("eve")))
    assert eve.get(result["messages"]).json()["results"] == []


@pytest.mark.parametrize("value", ["", "x", "1", "01234567-89ab-7cde-8f01-23456789abc"])
def test_an_invalid_id_of_a_broadcast_is_refused(api: APIClient, value: str) -> None:
    problem = assert_problem(api.get(MESSAGES, {"broadcast": value}), 400)
    assert [error["field"] for error in problem["errors"]] == ["broadcast"]


def test_an_unknown_broadcast_has_no_messages(api: APIClient) -> None:
    answer = api.get(MESSAGES, {"broadcast": "01234567-89ab-7cde-8f01-23456789abcd"})
    assert (answer.status_code, answer.json()["results"]) == (200, [])


def test_a_broadcast_is_read_with_its_figures(api: APIClient, news: Template) -> None:
    answer = post(api, recipients=[*recipients(3), "x"], tags=["june"])
    url = f"{BROADCASTS}{answer.json()['id']}/"
    before = api.get(url)
    assert (before.json()["figures"], before.json()["finished_at"], before.json()["refused"]) == ({}, None, 1)
    run(answer)
    Message.objects.filter(row=1).update(status="delivered", finished_at=timezone.now())
    shown = api.get(url, headers={"If-None-Match": before["ETag"]}).json()
    assert (shown["figures"], shown["accepted"], shown["tags"]) == ({"delivered": 1, "queued": 2}, 3, ["june"])
    assert (shown["job"], api.get(shown["messages"]).status_code) == (answer["Location"], 200)
    assert client(make_token(make_user("eve"))).get(url).status_code == 404


def test_ones_own_broadcasts_are_listed_newest_first(api: APIClient, news: Template) -> None:
    made = [post(api).json()["id"] for _ in range(3)]
    listed = api.get(BROADCASTS).json()["results"]
    assert [each["id"] for each in listed] == made[::-1]
    assert "figures" not in listed[0]
    assert client(make_token(make_user("eve"))).get(BROADCASTS).json()["results"] == []


# --- options -------------------------------------------------------------------------------------------------------


def assert_has_options(message: Message) -> None:
    assert (message.sender, message.reply_to, message.tags) == (
        OPTIONS["from"],
        OPTIONS["reply_to"],
        OPTIONS["tags"],
    )
    assert message.expires_at.year == 2100


def test_the_options_of_a_broadcast_apply_to_each_message(api: APIClient, news: Template) -> None:
    run(post(api, **OPTIONS))
    for message in Message.objects.all():
        assert_has_options(message)
    assert Message.objects.count() == 3


def test_a_form_takes_the_same_options_as_json(api: APIClient, news: Template) -> None:
    run(upload(api, "to,name\na@example.org,A\n", **OPTIONS))
    assert_has_options(Message.objects.get())


def test_a_broadcast_for_later_makes_no_message_before(api: APIClient, news: Template) -> None:
    send_at = timezone.now() + timedelta(hours=1)
    shown = post(api, send_at=send_at).json()
    job = Job.objects.get()
    assert (shown["status"], job.run_at, Message.objects.count()) == ("scheduled", send_at, 0)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"from": "ada@elsewhere.example"}, "from"),
        ({"from": "x\r\nBcc: a@b.example"}, "from"),
        ({"reply_to": ["nobody"]}, "reply_to.0"),
        ({"reply_to": "ada@example.org"}, "reply_to"),
        ({"reply_to": ["ada@example.org"] * 11}, "reply_to"),
        ({"tags": ["a", "b", "c", "d"]}, "tags"),
        ({"tags": ["a\nb"]}, "tags.0"),
        ({"send_at": "tomorrow"}, "send_at"),
        ({"send_at": "9999-12-31T23:59:59Z"}, "send_at"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"send_at": "2100-01-02T00:00:00Z", "expires_at": "2100-01-01T00:00:00Z"}, "expires_at"),
        ({"headers": {"X-A": "b"}}, "headers"),
    ],
)
def test_an_option_that_is_wrong_is_refused_and_named(
    api: APIClient, news: Template, fields: dict[str, Any], field: str
) -> None:
    problem = assert_problem(post(api, **fields), 400)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert not Broadcast.objects.exists()


# --- the job ---------------------------------------------------------------------------------------------------------


def test_a_broadcast_is_a_job_of_its_user(api: APIClient, news: Template, ada: User) -> None:
    answer = post(api)
    job = Job.objects.get()
    assert (answer.status_code, answer.json()["kind"], job.user) == (202, "mail.broadcast", ada)
    assert answer["Location"] == answer.json()["url"]
    assert api.get(answer["Location"]).status_code == 200
    assert not Message.objects.exists()


def test_clients_cannot_post_its_job_themselves(api: APIClient, news: Template) -> None:
    post(api)
    params = Job.objects.get().params
    assert_problem(api.post("/api/v1/jobs/", {"kind": "mail.broadcast", "params": params}), 400)
    assert "mail.broadcast" not in {kind["name"] for kind in api.get("/api/v1/job-kinds/").json()["results"]}


@pytest.mark.parametrize("action", ["cancellation", "resumption"])
def test_an_action_without_fields_refuses_a_body(api: APIClient, news: Template, action: str) -> None:
    url = f"{BROADCASTS}{post(api, recipients=recipients(1)).json()['id']}/{action}/"
    assert assert_problem(api.post(url, {"reason": "x"}), 400)["errors"][0]["field"] == "reason"


def test_a_waiting_broadcast_is_cancelled_like_any_job(api: APIClient, news: Template) -> None:
    answer = post(api)
    assert api.post(f"{answer.json()['url']}cancellation/").json()["status"] == "cancelled"


# --- what is refused at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"template": "no-such"}, "template"),
        ({"template": ...}, "template"),
        ({"recipients": ...}, "recipients"),
        ({"recipients": []}, "recipients"),
        ({"recipients": {}}, "recipients"),
        ({"recipients": [1] * 10_001}, "recipients"),
        ({"importance": "urgent"}, "importance"),
        ({"subject": "x"}, "subject"),
    ],
)
def test_an_invalid_broadcast_is_refused(api: APIClient, news: Template, fields: dict[str, Any], field: str) -> None:
    answer = post(api, **fields)
    assert [error["field"] for error in assert_problem(answer, 400)["errors"]] == [field]
    assert not Broadcast.objects.exists()
    assert not Job.objects.exists()


def test_the_same_key_makes_one_broadcast(api: APIClient, news: Template) -> None:
    answers = [post(api, {"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert Broadcast.objects.count() == Job.objects.count() == 1


# --- forms -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_too_large_is_refused(api: APIClient, news: Template) -> None:
    assert_problem(upload(api, b"to\n" + b"x" * (10 * 1024 * 1024)), 413)


@pytest.mark.parametrize("fields", [{"template": ""}, {"importance": "x"}, {"recipients": "[]"}, {"template": "a\0b"}])
def test_a_form_is_checked_like_json(api: APIClient, news: Template, fields: dict[str, Any]) -> None:
    assert_problem(upload(api, "to\na@example.org\n", **fields), 400)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary=a"),
        (b"--a\r\n\r\n", "multipart/form-data; boundary=a"),
        (
            b'--a\r\nContent-Disposition: form-data; name="template"\r\n\r\nnews\r\n--a--\r\n',
            "multipart/form-data; boundary=a",
        ),
    ],
)
def test_a_malformed_form_is_refused(api: APIClient, news: Template, body: bytes, content_type: str) -> None:
    assert_problem(api.generic("POST", BROADCASTS, body, content_type=content_type), 400)


@settings(max_examples=60)
@given(body=st.binary(max_size=100).map(lambda part: b"--a\r\nContent-Disposition: form-data; " + part + b"\r\n--a--"))
def test_no_form_makes_the_server_fail(api: APIClient, news: Template, body: bytes) -> None:
    assert_problem(api.generic("POST", BROADCASTS, body, content_type="multipart/form-data; boundary=a"), 400)


def test_the_same_file_with_the_same_key_makes_one_broadcast(api: APIClient, news: Template) -> None:
    key = {"Idempotency-Key": "k"}
    first, second = (upload(api, "to\na@example.org\n", key) for _ in range(2))
    assert (second.status_code, second.content) == (202, first.content)
    assert upload(api, "to\nb@example.org\n", key).status_code == 422
    assert Broadcast.objects.count() == 1
