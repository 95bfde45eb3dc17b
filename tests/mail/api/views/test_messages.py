"""POST mail/messages/, the list, one message, cancellation and resends."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.models.states import Status as JobStatus
from mail.importance import EXPIRES_AFTER
from mail.models import Attachment, Attempt, Event, Message, Suppression, Template
from mail.status import TERMINAL, Status
from tests.support.api_clients import assert_problem
from tests.support.factories import make_user
from tests.support.mail.messages import MESSAGES, make_message, post, url

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

NumQueries = Callable[[int], AbstractContextManager[Any]]

KEYS = {
    *("id", "url", "to", "from", "subject", "importance", "stream", "status", "provider", "tags", "metadata"),
    *("created_at", "send_at", "expires_at", "sent_at", "finished_at", "opens", "clicks"),
    *("possible_duplicate", "failure", "resend_of", "timeline"),
}
CANCELLABLE = {Status.SCHEDULED, Status.QUEUED}


def seconds_ahead(time: str) -> float:
    found = parse_datetime(time)
    assert found
    return (found - timezone.now()).total_seconds()


# --- POST ----------------------------------------------------------------------------------------------------------


def test_a_message_is_accepted_with_its_address_and_its_job(api: APIClient, ada: User) -> None:
    body = {"to": "Ada <Ada@Example.org>", "subject": "Hi {{ name }}", "text": "Dear {{ name }}"}
    answer = post(api, **body, html="<b>{{ name }}</b>", context={"name": "A&B"})
    assert answer.status_code == 202
    shown = answer.json()
    assert set(shown) == KEYS
    assert answer["Location"] == shown["url"]
    assert int(answer["Retry-After"]) > 0
    assert (shown["to"], shown["from"]) == ("Ada <Ada@Example.org>", "Legwork <legwork@mg.example.org>")
    assert (shown["subject"], shown["status"], shown["provider"]) == ("Hi A&B", "queued", None)
    assert [entry["type"] for entry in shown["timeline"]] == ["created"]
    message = Message.objects.get()
    assert (str(message.pk), message.user, message.address) == (shown["id"], ada, "ada@example.org")
    assert (message.text, message.html) == ("Dear A&B", "<b>A&amp;B</b>")


@pytest.mark.parametrize(("importance", "priority"), [("critical", 1010), ("normal", 1000), ("bulk", 990)])
def test_the_job_of_a_message_has_no_user_and_the_priority_of_its_importance(
    api: APIClient, importance: str, priority: int
) -> None:
    shown = post(api, importance=importance).json()
    job = Job.objects.get()
    kind = "mail.send_bulk" if importance == "bulk" else "mail.send"
    assert (job.kind, job.params, job.user, job.priority) == (kind, {"message": shown["id"]}, None, priority)
    assert Message.objects.get().job_id == job.pk
    assert api.get("/api/v1/jobs/").json()["results"] == []
    assert seconds_ahead(shown["expires_at"]) == pytest.approx(EXPIRES_AFTER[importance].total_seconds(), abs=20)


def test_null_is_the_same_as_leaving_out(api: APIClient) -> None:
    names = "from reply_to html template context headers tags metadata attachments importance send_at expires_at"
    nothing = dict.fromkeys(names.split())
    assert post(api, **nothing).status_code == 202
    message = Message.objects.get()
    assert (message.reply_to, message.headers, message.tags, message.importance) == ([], {}, [], "normal")


def test_every_field_of_a_post_is_stored(api: APIClient) -> None:
    answer = post(
        api,
        **{"from": "Desk <desk@mg.example.org>"},
        reply_to=["Grace <grace@example.org>", "desk@example.org"],
        headers={"X-Thread": "17"},
        tags=["welcome", "june"],
        metadata={"order": "A-17"},
        attachments=[{"filename": "a b.txt", "content_type": "text/plain; charset=utf-8", "content": "SGk="}],
        expires_at="2100-01-01T00:00:00+01:00",
    )
    shown = answer.json()
    assert (shown["from"], shown["tags"], shown["metadata"]) == (
        "Desk <desk@mg.example.org>",
        ["welcome", "june"],
        {"order": "A-17"},
    )
    assert shown["expires_at"] == "2099-12-31T23:00:00.000000Z"
    message = Message.objects.get()
    assert message.reply_to == ["Grace <grace@example.org>", "desk@example.org"]
    assert message.headers == {"X-Thread": "17"}
    file = Attachment.objects.get(message=message)
    assert (file.filename, file.content_type, bytes(file.content)) == ("a b.txt", "text/plain; charset=utf-8", b"Hi")


def test_a_message_for_later_is_scheduled_and_so_is_its_job(api: APIClient) -> None:
    answer = post(api, send_at="2100-01-01T00:00:00Z")
    shown = answer.json()
    assert (shown["status"], shown["send_at"]) == ("scheduled", "2100-01-01T00:00:00.000000Z")
    assert shown["expires_at"] == "2100-01-02T00:00:00.000000Z"
    assert answer["Retry-After"] == "60"
    job = Job.objects.get()
    assert (job.status, job.run_at.isoformat()) == ("scheduled", "2100-01-01T00:00:00+00:00")


def test_a_message_for_the_past_is_due_now(api: APIClient) -> None:
    before = timezone.now()
    shown = post(api, send_at="2001-01-01T00:00:00Z").json()
    assert shown["status"] == "queued"
    assert seconds_ahead(shown["expires_at"]) > 0
    assert before <= Job.objects.get().run_at <= timezone.now()


def test_the_senders_own_template_is_rendered(api: APIClient, ada: User) -> None:
    Template.objects.create(
        user=ada, name="hello", subject="Hello {{ name }}", text="T {{ name }}", html="<i>{{ name }}</i>"
    )
    post(api, subject=..., text=..., template="hello", context={"name": "<A>"})
    message = Message.objects.get()
    assert (message.subject, message.text, message.html) == ("Hello <A>", "T <A>", "<i>&lt;A&gt;</i>")


def test_a_template_that_renders_an_empty_body_is_refused(api: APIClient, ada: User) -> None:
    Template.objects.create(user=ada, name="empty", subject="Hi", text="{{ body }}", html="{{ body }}")
    answer = post(api, text=..., subject=..., template="empty")
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [("template", "template")]
    assert post(api, text=..., subject=..., template="empty", context={"body": "x"}).status_code == 202


def test_a_subject_that_is_given_replaces_the_templates(api: APIClient, ada: User) -> None:
    Template.objects.create(user=ada, name="hello", subject="Hello", text="T")
    assert post(api, subject="{{ a }}!", text=..., template="hello", context={"a": 1}).json()["subject"] == "1!"


def test_the_template_of_another_user_is_unknown(api: APIClient) -> None:
    Template.objects.create(user=make_user("grace"), name="hello", subject="Hello", text="T")
    answer = post(api, subject=..., text=..., template="hello")
    assert_problem(answer, 400)
    assert answer.json()["errors"][0]["field"] == "template"


def test_the_same_key_makes_one_message(api: APIClient) -> None:
    first, second = (post(api, {"Idempotency-Key": "k"}) for _ in range(2))
    assert (second.status_code, second.content) == (202, first.content)
    assert second["Idempotency-Replayed"] == "true"
    assert second["Location"] == first["Location"]
    assert Message.objects.count() == Job.objects.count() == 1
    assert post(api, {"Idempotency-Key": "k"}, text="Other").status_code == 422


def test_a_message_costs_two_statements_beside_the_callers_token(
    api: APIClient, django_assert_num_queries: NumQueries
) -> None:
    post(api)
    with django_assert_num_queries(2 + SAVEPOINT + TOKEN + TIMELINE):
        assert post(api).status_code == 202


TOKEN = 1
SAVEPOINT = 2
"""The tests' own transaction makes a savepoint of the statements' one."""
TIMELINE = 2


# --- reading -------------------------------------------------------------------------------------------------------


def test_one_message_is_shown_with_its_timeline_in_order(api: APIClient, ada: User) -> None:
    now = timezone.now()
    message = make_message(Status.BOUNCED, user=ada, created_at=now, provider="mailgun")
    later = [now + timedelta(seconds=number) for number in range(1, 6)]
    first = Attempt.objects.create(message=message, provider="mailgun", started_at=later[0])
    Attempt.objects.filter(pk=first.pk).update(
        outcome="transient", finished_at=later[1], failure_class="throttled", detail="a pause of 5 s"
    )
    Attempt.objects.create(
        message=message, provider="postmark", started_at=later[2], finished_at=later[3], outcome="accepted"
    )
    Event.objects.create(
        message=message, source="webhook", provider="postmark", type="bounced", at=later[4], raw={"a": 1}
    )
    Event.objects.create(message=message, source="webhook", type="delivered", disregarded="a foreign attempt")
    timeline = api.get(url(message)).json()["timeline"]
    assert [(entry["type"], entry["provider"]) for entry in timeline] == [
        ("created", None),
        ("attempt_started", "mailgun"),
        ("attempt_failed", "mailgun"),
        ("attempt_started", "postmark"),
        ("accepted", "postmark"),
        ("bounced", "postmark"),
    ]
    assert timeline[2]["detail"] == "throttled: a pause of 5 s"
    assert all(set(entry) == {"at", "type", "detail", "provider"} for entry in timeline)


@pytest.mark.parametrize("status", sorted(Status))
def test_only_an_unfinished_message_says_when_to_ask_again(api: APIClient, ada: User, status: Status) -> None:
    send_at = timezone.now() + timedelta(days=1) if status == Status.SCHEDULED else None
    answer = api.get(url(make_message(status, user=ada, send_at=send_at)))
    assert answer.json()["status"] == status
    assert ("Retry-After" in answer) == (status not in TERMINAL)


def test_a_known_state_is_answered_with_304(api: APIClient, ada: User) -> None:
    message = make_message(user=ada)
    whole = api.get(url(message))
    same = api.get(url(message), headers={"If-None-Match": whole["ETag"]})
    assert (same.status_code, same.content, same["Retry-After"]) == (304, b"", whole["Retry-After"])
    message.note("looked_up")
    assert api.get(url(message), headers={"If-None-Match": whole["ETag"]}).status_code == 200


def test_one_message_costs_three_statements_beside_the_callers_token(
    api: APIClient, ada: User, django_assert_num_queries: NumQueries
) -> None:
    message = make_message(user=ada)
    with django_assert_num_queries(3 + TOKEN):
        assert api.get(url(message)).status_code == 200


def test_the_list_is_ones_own_newest_first_without_timelines(
    api: APIClient, ada: User, django_assert_num_queries: NumQueries
) -> None:
    messages = [make_message(user=ada) for _ in range(3)]
    make_message(user=make_user("grace"))
    with django_assert_num_queries(1 + TOKEN):
        results = api.get(MESSAGES).json()["results"]
    assert [shown["id"] for shown in results] == [str(message.pk) for message in reversed(messages)]
    assert {frozenset(shown) for shown in results} == {frozenset(KEYS - {"timeline"})}


@pytest.mark.parametrize(
    "query",
    [
        "status=bounced",
        "status=bounced&status=failed",
        "to=GRACE@example.org",
        "tag=june",
        "importance=bulk",
        "created_before=2002-01-01T00:00:00Z",
    ],
)
def test_the_list_can_be_narrowed(api: APIClient, ada: User, query: str) -> None:
    make_message(user=ada, tags=["welcome"])
    wanted = {"address": "grace@example.org", "tags": ["welcome", "june"], "importance": "bulk"}
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    found = make_message(Status.BOUNCED, user=ada, created_at=long_ago, **wanted)
    assert [shown["id"] for shown in api.get(f"{MESSAGES}?{query}").json()["results"]] == [str(found.pk)]


@pytest.mark.parametrize(
    "query",
    [
        "status=no",
        "status=",
        "importance=no",
        "importance=",
        "created_after=yesterday",
        "cursor=x",
        "page_size=0",
        "to=%00",
        "tag=%00",
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(api: APIClient, query: str) -> None:
    assert_problem(api.get(f"{MESSAGES}?{query}"), 400)


@pytest.mark.parametrize("more", [(), ("cancellation",), ("resends",)])
def test_the_message_of_another_user_is_not_there(api: APIClient, more: tuple[str, ...]) -> None:
    path = url(make_message(Status.DELIVERED, user=make_user("grace")), *more)
    assert_problem(api.post(path) if more else api.get(path), 404)


# --- cancellation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(Status))
def test_what_has_not_been_sent_can_be_cancelled(api: APIClient, ada: User, status: Status) -> None:
    message = make_message(status, user=ada)
    answer = api.post(url(message, "cancellation"))
    if status not in CANCELLABLE | {Status.CANCELLED}:
        assert_problem(answer, 409)
        message.refresh_from_db()
        assert message.status == status
        return
    assert answer.status_code == 200
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["finished_at"]
    again = api.post(url(message, "cancellation"))
    assert (again.status_code, again.json()) == (200, answer.json())


def test_the_job_of_a_message_is_cancelled_with_it(api: APIClient) -> None:
    shown = post(api, send_at="2100-01-01T00:00:00Z").json()
    answer = api.post(f"{shown['url']}cancellation/")
    assert Job.objects.get().status == JobStatus.CANCELLED
    assert [entry["type"] for entry in answer.json()["timeline"]] == ["created", "cancelled"]


# --- one message ---------------------------------------------------------------------------------------------------


def test_one_message_is_shown_with_its_bodies_until_they_are_erased(api: APIClient, ada: User) -> None:
    message = make_message(user=ada, text="There", html="<b>There</b>")
    shown = api.get(url(message)).json()
    assert set(shown) == KEYS | {"broadcast", "text", "html", "track_opens", "track_clicks", "test_mode"}
    assert (shown["broadcast"], shown["text"], shown["html"]) == (None, "There", "<b>There</b>")
    Message.objects.update(text="", html="", erased_at=timezone.now())
    assert [api.get(url(message)).json()[name] for name in ("text", "html")] == [None, None]


# --- resends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(Status))
def test_what_has_finished_can_be_sent_once_more(api: APIClient, ada: User, status: Status) -> None:
    answer = api.post(url(make_message(status, user=ada), "resends"))
    assert answer.status_code == (202 if status in TERMINAL else 409)


def test_a_resend_is_a_new_message_with_the_old_content(api: APIClient, ada: User) -> None:
    old = make_message(
        Status.BOUNCED, user=ada, html="<b>", tags=["a"], metadata={"b": "c"}, headers={"X-D": "e"}, opens=3
    )
    Attachment.objects.create(message=old, filename="a.txt", content_type="text/plain", content=b"A")
    answer = api.post(url(old, "resends"))
    shown = answer.json()
    assert (shown["status"], shown["resend_of"], shown["opens"]) == ("queued", str(old.pk), 0)
    assert answer["Location"] == shown["url"]
    new = Message.objects.exclude(pk=old.pk).get()
    for name in ("user", "to", "address", "sender", "subject", "text", "html", "tags", "metadata", "headers"):
        assert getattr(new, name) == getattr(old, name), name
    file = new.attachments.get()
    assert (file.filename, bytes(file.content)) == ("a.txt", b"A")
    assert old.attachments.count() == 1
    assert Job.objects.get().params == {"message": shown["id"]}


@pytest.mark.parametrize(
    ("status", "days", "code"),
    [("sent", 6, 202), ("deferred", 6, 202), ("sent", 4, 409), ("deferred", 4, 409), ("queued", 6, 409)],
)
def test_a_message_without_an_outcome_for_five_days_can_be_resent(
    api: APIClient, ada: User, status: str, days: int, code: int
) -> None:
    old = make_message(status, user=ada, sent_at=timezone.now() - timedelta(days=days))
    assert api.post(url(old, "resends")).status_code == code


def test_the_same_key_resends_once(api: APIClient, ada: User) -> None:
    old = make_message(Status.FAILED, user=ada)
    answers = [api.post(url(old, "resends"), headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert Message.objects.count() == 2


@pytest.mark.parametrize(
    ("scope", "importance", "code"), [("all", "normal", 422), ("bulk", "bulk", 422), ("bulk", "normal", 202)]
)
def test_nothing_is_resent_to_a_suppressed_address(
    api: APIClient, ada: User, scope: str, importance: str, code: int
) -> None:
    old = make_message(Status.BOUNCED, user=ada, importance=importance)
    Suppression.objects.suppress(old.address, "manual", scope, None, source="test")
    answer = api.post(url(old, "resends"))
    assert answer.status_code == code
    if code == 422:
        assert_problem(answer, 422)
        assert re.search("suppressed", answer.json()["detail"])


def test_what_has_been_erased_cannot_be_resent(api: APIClient, ada: User) -> None:
    old = make_message(Status.DELIVERED, user=ada, erased_at=timezone.now())
    assert_problem(api.post(url(old, "resends")), 409)
