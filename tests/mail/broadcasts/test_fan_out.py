"""POST mail/broadcasts/ and the job that works one off."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from jobs.models import Job
from mail.addresses.csv_files import BadFile
from mail.addresses.refused_rows import first_refused, refused_row
from mail.broadcasts import fan_out
from mail.broadcasts.recipients import read_csv
from mail.models import Broadcast, Message, Suppression, Template
from rest.field_errors import FieldError
from rest.json_value import json_value
from tests.support.api_clients import assert_problem, client, make_token
from tests.support.factories import make_user
from tests.support.mail.broadcasts import BROADCASTS, allow_normal, make_template, post, recipients, run, upload

pytestmark = pytest.mark.django_db

JSON = "application/json"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["to", "context", "name"]), inner | st.emails(), max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture
def ada() -> User:
    return make_user()


@pytest.fixture
def api(ada: User) -> APIClient:
    make_template(ada)
    allow_normal(ada)
    return client(make_token(ada))


def test_a_broadcast_is_a_job_of_its_user(api: APIClient, ada: User) -> None:
    answer = post(api)
    job = Job.objects.get()
    assert (answer.status_code, answer.json()["kind"], job.user) == (202, "mail.broadcast", ada)
    assert answer["Location"] == answer.json()["url"]
    assert api.get(answer["Location"]).status_code == 200
    assert not Message.objects.exists()


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
    assert {(job.user, job.priority) for job in sends} == {(None, -10)}
    assert {job.params["message"] for job in sends} == {str(message.pk) for message in messages}


def test_bad_rows_are_told_by_number_and_stop_nothing(api: APIClient) -> None:
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


def test_only_so_many_bad_rows_are_told_and_the_others_counted(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_however_much_is_wrong_the_result_can_be_kept(api: APIClient, row: Any) -> None:
    result = run(post(api, recipients=[row] * 900 + recipients(1)))
    assert (result["accepted"], result["refused"]) == (1, 900)
    assert json_value(result) == result
    assert [refused["row"] for refused in result["errors"]] == list(range(1, len(result["errors"]) + 1))


def test_no_bad_row_is_told_behind_one_that_is_only_counted() -> None:
    long, short = [FieldError(field="", code="x", detail="ä" * 200)], [FieldError(field="", code="x", detail="")]
    rows = [refused_row(number, long if number < 200 else short) for number in range(400)]
    first = first_refused(rows[:200])
    assert first_refused(first + rows[200:]) == first == rows[: len(first)]
    assert 0 < len(first) < 200


def test_suppressed_addresses_are_counted(api: APIClient) -> None:
    Suppression.objects.suppress("reader1@example.org", "unsubscribe", "bulk", None, source="test")
    assert run(post(api))["suppressed"] == 1
    assert run(post(api, importance="normal"))["suppressed"] == 0
    assert Message.objects.filter(importance="normal").count() == 3


def test_the_template_is_kept_as_it_was(api: APIClient) -> None:
    answer = post(api)
    Template.objects.update(subject="Other")
    run(answer)
    assert set(Message.objects.values_list("subject", flat=True)) == {"News, R0", "News, R1", "News, R2"}


def test_a_broadcast_that_died_goes_on_where_it_was(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies at every point of a chunk in turn; each row becomes one message all the same."""
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


def test_a_chunk_costs_few_statements(api: APIClient, django_assert_max_num_queries: Any) -> None:
    answer = post(api, recipients=recipients(500))
    with django_assert_max_num_queries(19):
        assert run(answer)["accepted"] == 500


def test_clients_cannot_post_its_job_themselves(api: APIClient) -> None:
    post(api)
    params = Job.objects.get().params
    assert_problem(api.post("/api/v1/jobs/", {"kind": "mail.broadcast", "params": params}), 400)
    assert "mail.broadcast" not in {kind["name"] for kind in api.get("/api/v1/job-kinds/").json()["results"]}


def test_one_that_waits_is_cancelled_like_any_job(api: APIClient) -> None:
    answer = post(api)
    assert api.post(f"{answer.json()['url']}cancellation/").json()["status"] == "cancelled"


# --- what is refused at once ---------------------------------------------------------------------------------------


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
def test_a_broadcast_that_is_none_is_refused(api: APIClient, fields: dict[str, Any], field: str) -> None:
    answer = post(api, **fields)
    assert [error["field"] for error in assert_problem(answer, 400)["errors"]] == [field]
    assert not Broadcast.objects.exists()
    assert not Job.objects.exists()


def test_the_same_key_makes_one_broadcast(api: APIClient) -> None:
    answers = [post(api, {"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert Broadcast.objects.count() == Job.objects.count() == 1


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "to,name\nreader0@example.org,R0\nreader1@example.org,R1\n",
        "\ufeffto,name\r\nreader0@example.org,R0\r\n\r\nreader1@example.org,R1",
        'name;To;;\n"R0"; reader0@example.org ;x;y\nR1;reader1@example.org;;\n',
        '"name";"first,last,born";to\nR0;x;reader0@example.org\nR1;y,z;reader1@example.org\n',
        '"a;b;c",to,name\n1,reader0@example.org,R0\n2,reader1@example.org,R1\n',
        "to\tname\nreader0@example.org\tR0\nreader1@example.org\tR1\n",
    ],
)
def test_a_file_names_recipients_and_their_contexts(api: APIClient, content: str) -> None:
    assert run(upload(api, content, importance="normal"))["accepted"] == 2
    made = Message.objects.order_by("row").values_list("row", "address", "subject", "importance")
    assert list(made) == [(n + 1, f"reader{n}@example.org", f"News, R{n}", "normal") for n in range(2)]


def test_bad_rows_of_a_file_are_told_by_number(api: APIClient) -> None:
    result = run(upload(api, "to,name\na@example.org\n,x\nb@example.org,B\nnobody,N\n"))
    assert (result["rows"], result["accepted"]) == (4, 1)
    assert [(refused["row"], refused["errors"][0]["code"]) for refused in result["errors"]] == [
        (1, "columns"),
        (2, "required"),
        (4, "invalid"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"to,name\n",
        b"name\nAda\n",
        b"to,to\na@example.org,b\n",
        "to,näme\na@example.org,b\n".encode("latin-1"),
        "to,name\na@example.org,b\n".encode("utf-16"),
        b"to,name\na@example.org,\0\n",
        b'to,name\n"a@example.org,b\n',
        b'to,name\n"a"b,c\n',
        b"to\n" + b"x" * 200_000,
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_file_that_cannot_be_read_is_refused(api: APIClient, content: bytes) -> None:
    answer = upload(api, content)
    assert [error["field"] for error in assert_problem(answer, 400)["errors"]] == ["file"]
    assert not Broadcast.objects.exists()


def test_a_file_may_have_a_hundred_thousand_rows_and_no_more() -> None:
    rows = b"a@example.org\n" * 100_000
    assert len(read_csv(b"to\n" + rows).rows) == 100_000
    with pytest.raises(BadFile):
        read_csv(b"to\n" + rows + b"b@example.org\n")


def test_a_file_that_is_too_large_is_refused(api: APIClient) -> None:
    assert_problem(upload(api, b"to\n" + b"x" * (10 * 1024 * 1024)), 413)


@pytest.mark.parametrize("fields", [{"template": ""}, {"importance": "x"}, {"recipients": "[]"}, {"template": "a\0b"}])
def test_a_form_is_checked_like_json(api: APIClient, fields: dict[str, Any]) -> None:
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
def test_a_form_that_is_none_is_refused(api: APIClient, body: bytes, content_type: str) -> None:
    assert_problem(api.generic("POST", BROADCASTS, body, content_type=content_type), 400)


FUZZ = settings(max_examples=60)


@FUZZ
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: f"to,name\n{text}".encode()))
def test_no_file_makes_the_server_fail(api: APIClient, content: bytes) -> None:
    answer = upload(api, content)
    assert answer.status_code in (202, 400), answer.content
    if answer.status_code == 202:
        run(answer)


@FUZZ
@given(body=st.binary(max_size=100).map(lambda part: b"--a\r\nContent-Disposition: form-data; " + part + b"\r\n--a--"))
def test_no_form_makes_the_server_fail(api: APIClient, body: bytes) -> None:
    assert_problem(api.generic("POST", BROADCASTS, body, content_type="multipart/form-data; boundary=a"), 400)


@FUZZ
@given(items=st.lists(json_values, min_size=1, max_size=4))
def test_no_list_makes_the_server_fail(api: APIClient, items: list[Any]) -> None:
    answer = api.generic("POST", BROADCASTS, json.dumps({"template": "news", "recipients": items}).encode(), JSON)
    assert answer.status_code in (202, 400), answer.content
    if answer.status_code == 202:
        assert run(answer)["rows"] == len(items)


def test_the_same_file_with_the_same_key_makes_one_broadcast(api: APIClient) -> None:
    key = {"Idempotency-Key": "k"}
    first, second = (upload(api, "to\na@example.org\n", key) for _ in range(2))
    assert (second.status_code, second.content) == (202, first.content)
    assert upload(api, "to\nb@example.org\n", key).status_code == 422
    assert Broadcast.objects.count() == 1
