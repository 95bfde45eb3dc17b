"""The job mail.broadcast: which messages it makes, which rows it refuses, and what a crash leaves."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from jobs.models import Job
from mail.broadcasts import fan_out
from mail.models import Broadcast, Message, Suppression, Template
from mail.privacy.forgetting import forget
from mail.sending.statements import suppression_reason
from rest.json_value import to_json
from tests.support.api_clients import client, make_token
from tests.support.concurrency import until_it_waits
from tests.support.factories import make_user
from tests.support.mail.broadcasts import allow_normal, make_template, post, recipients, run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return make_user()


@pytest.fixture
def api(ada: User) -> APIClient:
    make_template(ada)
    allow_normal(ada)
    return client(make_token(ada))


def test_each_recipient_gets_a_message_of_their_own(api: APIClient, ada: User) -> None:
    result = run(post(api))
    assert "?broadcast=" in result.pop("messages")
    assert result == {"rows": 3, "accepted": 3, "suppressed": 0, "refused": 0, "errors": []}
    messages = Message.objects.order_by("row")
    assert [(message.address, message.subject, message.text, message.html) for message in messages] == [
        (f"reader{n}@example.org", f"News, R{n}", f"Dear R{n}", f"<b>R{n}</b>") for n in range(3)
    ]
    assert {(message.user, message.importance, message.status) for message in messages} == {(ada, "bulk", "queued")}
    sends = Job.objects.filter(kind="mail.send_bulk")
    assert {job.pk for job in sends} == {message.job_id for message in messages}
    assert {(job.user, job.priority) for job in sends} == {(None, 990)}
    assert {job.params["message"] for job in sends} == {str(message.pk) for message in messages}


def test_bad_rows_are_reported_by_number_and_stop_nothing(api: APIClient) -> None:
    rows: list[Any] = recipients(2)
    rows[1:1] = ["x", {"to": "nobody"}, {"to": "a@example.org", "more": 1}, {"context": {}}, None]
    result = run(post(api, recipients=rows))
    assert (result["rows"], result["accepted"], result["refused"]) == (7, 2, 5)
    assert [refused["row"] for refused in result["errors"]] == [2, 3, 4, 5, 6]
    assert result["errors"][1]["errors"][0]["field"] == "to"
    assert sorted(Message.objects.values_list("row", flat=True)) == [1, 7]


def test_a_row_that_cannot_be_rendered_is_a_bad_one(api: APIClient) -> None:
    result = run(post(api, recipients=[{"to": "a@example.org", "context": {"name": "x\ny"}}, *recipients(1)]))
    assert (result["accepted"], result["errors"][0]["row"]) == (1, 1)
    assert result["errors"][0]["errors"][0]["code"] == "template"


def test_a_row_whose_mail_would_be_empty_is_a_bad_one(api: APIClient) -> None:
    Template.objects.update(text="{{ body }}", html="")
    result = run(post(api, recipients=[{"to": "a@example.org", "context": {"name": "R", "body": "x"}}, *recipients(1)]))
    assert (result["accepted"], result["errors"][0]["row"]) == (1, 2)


def test_a_limited_number_of_bad_rows_is_reported_and_all_are_counted(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out, "CHUNK_SIZE", 400)
    result = run(post(api, recipients=["x", *[{"to": "nobody"}] * 600, *recipients(1)]))
    assert (result["rows"], result["accepted"], result["refused"], len(result["errors"])) == (602, 1, 601, 500)
    assert [refused["row"] for refused in result["errors"]] == list(range(1, 501))


@pytest.mark.parametrize(
    "row",
    [
        {"to": "a@example.org", **{f"ä{number}" * 20: 1 for number in range(20)}},
        {"to": "a@example.org", "ä" * 900: 1},
        {"to": "a@" + "ä" * 400},
        {"to": "nobody" * 80},
        [],
    ],
)
def test_the_result_is_small_enough_to_store_however_many_rows_are_bad(api: APIClient, row: Any) -> None:
    result = run(post(api, recipients=[row] * 900 + recipients(1)))
    assert (result["accepted"], result["refused"]) == (1, 900)
    assert to_json(result) == result
    assert [refused["row"] for refused in result["errors"]] == list(range(1, len(result["errors"]) + 1))


def test_suppressed_addresses_are_counted(api: APIClient) -> None:
    Suppression.objects.suppress("reader1@example.org", "unsubscribe", "bulk", None, source="test")
    assert run(post(api))["suppressed"] == 1
    assert run(post(api, importance="normal"))["suppressed"] == 1
    assert Message.objects.filter(importance="normal").count() == 3


def test_a_broadcast_uses_the_template_as_it_was_when_posted(api: APIClient) -> None:
    answer = post(api)
    Template.objects.update(subject="Other")
    run(answer)
    assert set(Message.objects.values_list("subject", flat=True)) == {"News, R0", "News, R1", "News, R2"}


def test_a_broadcast_that_died_goes_on_where_it_stopped(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies when it has stored the second chunk and again while it builds it; each row becomes one message."""
    monkeypatch.setattr(fan_out, "CHUNK_SIZE", 10)
    answer = post(api, recipients=recipients(45))
    for victim in ("store_for_broadcast", "build_draft"):
        whole, calls = getattr(fan_out, victim), iter([False, True])

        def die(*arguments: Any, _whole: Any = whole, _calls: Iterator[bool] = calls, **options: Any) -> Any:
            done = _whole(*arguments, **options)
            if next(_calls, False):
                raise RuntimeError("killed")
            return done

        monkeypatch.setattr(fan_out, victim, die)
        with pytest.raises(RuntimeError):
            run(answer)
        monkeypatch.setattr(fan_out, victim, whole)
    made = Message.objects.count()
    assert (made, Broadcast.objects.get().next_row) == (10, 10)
    assert run(answer)["accepted"] == 45
    assert sorted(Message.objects.values_list("row", flat=True)) == list(range(1, 46))
    assert Job.objects.filter(kind="mail.send_bulk").count() == 45
    assert run(answer)["accepted"] == Message.objects.count() == 45


def test_two_runs_at_once_make_no_message_twice(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "CHUNK_SIZE", 2)
    answer = post(api, recipients=recipients(5))
    drafts, other = fan_out._build_drafts, iter([True])

    def meanwhile(*arguments: Any) -> Any:
        found = drafts(*arguments)
        if next(other, False):
            run(answer)
        return found

    monkeypatch.setattr(fan_out, "_build_drafts", meanwhile)
    assert run(answer)["accepted"] == 5
    assert sorted(Message.objects.values_list("row", flat=True)) == [1, 2, 3, 4, 5]


def test_a_person_forgotten_while_a_broadcast_is_made_gets_no_mail(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out, "CHUNK_SIZE", 2)
    answer = post(api, recipients=recipients(8), reply_to=["ada@example.org", "office@example.org"], tags=["ä", "b"])
    drafts, people = fan_out._build_drafts, iter(["reader3@example.org", "ada@example.org", "reader0@example.org"])

    def meanwhile(*arguments: Any) -> Any:
        found = drafts(*arguments)
        if person := next(people, None):
            forget(person)
        return found

    monkeypatch.setattr(fan_out, "_build_drafts", meanwhile)
    result = run(answer)
    assert (result["rows"], result["accepted"], result["refused"]) == (8, 6, 2)
    made = Message.objects.order_by("row").values_list("row", "address", "reply_to")
    assert list(made) == [(row, f"reader{row - 1}@example.org", ["office@example.org"]) for row in (2, 3, 5, 6, 7, 8)]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no locks of rows.")
@pytest.mark.django_db(transaction=True)
def test_a_person_forgotten_while_their_chunk_is_stored_gets_no_mail(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, store = post(api), fan_out.store_for_broadcast
    with ThreadPoolExecutor(1) as pool:

        def store_meanwhile(*arguments: Any, **options: Any) -> None:
            store(*arguments, **options)
            until_it_waits(pool, lambda: forget("reader1@example.org"))

        monkeypatch.setattr(fan_out, "store_for_broadcast", store_meanwhile)
        assert run(answer)["accepted"] == 3
    assert set(Message.objects.values_list("row", "address", "status")) == {
        (1, "reader0@example.org", "queued"),
        (2, "", "cancelled"),
        (3, "reader2@example.org", "queued"),
    }
    assert Broadcast.objects.get().refusals == 0


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite takes the jobs of a chunk one by one.")
def test_a_chunk_costs_few_statements(api: APIClient, django_assert_max_num_queries: Any) -> None:
    answer = post(api, recipients=recipients(500))
    with django_assert_max_num_queries(19):
        assert run(answer)["accepted"] == 500


def test_the_unsubscribed_get_no_broadcast_whatever_importance_it_claims(api: APIClient) -> None:
    Suppression.objects.suppress("reader1@example.org", "unsubscribe", "bulk", None, source="test")
    result = run(post(api, importance="normal"))
    assert (result["accepted"], result["suppressed"]) == (3, 1)
    message = Message.objects.get(address="reader1@example.org")
    assert suppression_reason(message) == "unsubscribe"
    alone = Message.objects.get(address="reader0@example.org")
    assert suppression_reason(alone) == ""
