"""Export and import of suppressions as CSV, in our own format and in those of Mailgun's three lists."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from mail.addresses.normalize import address_digest
from mail.models import Stream, StreamSuppression, Suppression
from tests.support.api_clients import assert_problem
from tests.support.mail.messages import MAIL

pytest_plugins = ["tests.support.api_fixtures", "tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db

EXPORT, IMPORT = f"{MAIL}suppressions/export/", f"{MAIL}suppressions/import/"
BOUNCES = 'address,code,error,created_at\ngone@example.org,550,5.1.1 no,"Fri, 21 Oct 2011 11:02:55 UTC"\n'
UNSUBSCRIBES = 'address,tags,created_at\ntired@example.org,*,"Fri, 21 Oct 2011 11:02:55 GMT"\n'
COMPLAINTS = 'address,created_at\nangry@example.org,"Fri, 21 Oct 2011 11:02:55 GMT"\n'


def upload(api: APIClient, content: str | bytes, **fields: Any) -> Any:
    body = content.encode() if isinstance(content, str) else content
    file = SimpleUploadedFile("list.csv", body, content_type="text/csv")
    return api.post(IMPORT, {"file": file, **fields}, format="multipart")


def facts() -> list[tuple[Any, ...]]:
    return list(Suppression.objects.order_by("address", "reason").values_list("address", "reason", "scope", "source"))


def test_what_is_exported_can_be_imported_again(operator_api: APIClient) -> None:
    until = timezone.now() + timezone.timedelta(days=1)
    Suppression.objects.suppress("a@example.org", "bounce", "all", None, source="mailgun")
    Suppression.objects.suppress("a@example.org", "unsubscribe", "bulk", None, source="one-click")
    Suppression.objects.suppress("b@example.org", "mailbox_full", "all", until, source="mailgun")
    Suppression.objects.suppress("c@example.org", "manual", "all", timezone.now(), source="has expired")
    exported = operator_api.get(EXPORT)
    assert exported["Content-Type"] == "text/csv; charset=utf-8"
    assert exported["Content-Disposition"] == 'attachment; filename="suppressions.csv"'
    before = list(Suppression.objects.in_force().order_by("pk").values())
    Suppression.objects.all().delete()
    done = upload(operator_api, exported.content)
    assert (done.status_code, done.json()) == (200, {"imported": 3, "known": 0, "refused": [], "refusals": 0})
    after = list(Suppression.objects.order_by("pk").values())
    assert [row | {"id": 0} for row in after] == [row | {"id": 0} for row in before]
    assert upload(operator_api, exported.content).json()["known"] == 3


@pytest.mark.parametrize(
    ("name", "content", "fields", "fact"),
    [
        ("bounces", BOUNCES, {}, ("gone@example.org", "bounce", "all", "operator")),
        ("unsubscribes", UNSUBSCRIBES, {}, ("tired@example.org", "unsubscribe", "bulk", "operator")),
        ("complaints", COMPLAINTS, {"list": "complaints"}, ("angry@example.org", "complaint", "all", "operator")),
    ],
)
def test_a_list_of_mailgun_s_is_imported_and_exported(
    operator_api: APIClient, name: str, content: str, fields: dict[str, str], fact: tuple[str, ...]
) -> None:
    assert upload(operator_api, content, **fields).json()["imported"] == 1
    assert facts() == [fact]
    assert Suppression.objects.get().created_at.isoformat() == "2011-10-21T11:02:55+00:00"
    lines = operator_api.get(f"{EXPORT}?list={name}").content.decode().splitlines()
    assert lines[0] == content.splitlines()[0]
    assert lines[1].startswith(fact[0])
    assert lines[1].endswith('"Fri, 21 Oct 2011 11:02:55 GMT"')
    Suppression.objects.all().delete()
    assert upload(operator_api, "\n".join(lines), list=name).json()["imported"] == 1


def test_suppressions_of_streams_are_exported_and_imported_again(operator_api: APIClient) -> None:
    ada, grace = User.objects.create_user("ada"), User.objects.create_user("grace")
    StreamSuppression.objects.add(ada.pk, "news", address_digest("a@example.org"), "a@example.org", "one-click")
    StreamSuppression.objects.add(grace.pk, "news", address_digest("a@example.org"), "a@example.org", "grace")
    StreamSuppression.objects.add(
        ada.pk, "news", address_digest("b@example.org"), "", "one-click"
    )  # a forgotten person
    exported = operator_api.get(EXPORT).content
    before = list(StreamSuppression.objects.exclude(address="").order_by("pk").values())
    StreamSuppression.objects.all().delete()
    Stream.objects.all().delete()
    assert upload(operator_api, exported).json() == {"imported": 2, "known": 0, "refused": [], "refusals": 0}
    after = list(StreamSuppression.objects.order_by("pk").values())
    assert [row | {"id": 0} for row in after] == [row | {"id": 0} for row in before]
    assert StreamSuppression.objects.forbids(ada.pk, "news", "a@example.org")
    assert set(Stream.objects.values_list("user__username", "name")) == {("ada", "news"), ("grace", "news")}
    assert upload(operator_api, exported).json()["known"] == 2
    assert not Suppression.objects.exists()


def test_a_row_with_an_invalid_stream_or_user_is_refused(operator_api: APIClient) -> None:
    rows = ["a@example.org,unsubscribe,nobody,news", "a@example.org,unsubscribe,operator,No!"]
    rows += ["nobody,unsubscribe,operator,news", "a@example.org,unsubscribe,operator,news"]
    done = upload(operator_api, "\r\n".join(["address,reason,user,stream", *rows])).json()
    assert (done["imported"], done["refusals"]) == (1, 3)
    told = sorted((each["row"], each["errors"][0]["field"]) for each in done["refused"])
    assert told == [(1, "user"), (2, "stream"), (3, "address")]
    assert StreamSuppression.objects.get().stream == "news"


def test_a_list_of_mailgun_s_has_no_streams(operator_api: APIClient) -> None:
    user = User.objects.create_user("ada")
    StreamSuppression.objects.add(user.pk, "news", address_digest("a@example.org"), "a@example.org", "one-click")
    assert len(operator_api.get(f"{EXPORT}?list=unsubscribes").content.decode().splitlines()) == 1


def test_a_bad_row_is_named_and_stops_no_other(operator_api: APIClient) -> None:
    rows = ["nobody,bounce,,", "a@example.org,dislike,,", "b@example.org,bounce,some,", "c@example.org,bounce"]
    rows += ["d@example.org,bounce,,yesterday", "e@example.org,bounce,,2001-01-01T00:00:00Z", "ok@example.org,manual,,"]
    done = upload(operator_api, "\r\n".join(["address,reason,scope,expires_at", *rows])).json()
    assert (done["imported"], done["refusals"]) == (1, 6)
    told = [(each["row"], each["errors"][0]["field"]) for each in done["refused"]]
    assert told == [(1, "address"), (2, "reason"), (3, "scope"), (4, ""), (5, "expires_at"), (6, "expires_at")]
    assert facts() == [("ok@example.org", "manual", "all", "operator")]


@pytest.mark.parametrize("field", ["expires_at", "created_at"])
@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_has_no_form_in_utc_is_refused(operator_api: APIClient, field: str, time: str) -> None:
    rows = [f"a@example.org,unsubscribe,operator,{stream},{time}" for stream in ("", "news")]
    done = upload(operator_api, "\r\n".join([f"address,reason,user,stream,{field}", *rows])).json()
    refused = [each["errors"][0]["field"] for each in done["refused"]]
    # A stream's suppression does not expire, so that column is not read.
    assert refused == ([field] if field == "expires_at" else [field, field])
    assert operator_api.get(EXPORT).status_code == 200


@pytest.mark.parametrize("time", ["1 Jan 99999999999 00:00:00 +0000", "31 Dec 9999 23:59:59 -1400", "yesterday"])
def test_an_impossible_time_in_a_list_of_mailgun_s_is_ignored(operator_api: APIClient, time: str) -> None:
    assert upload(operator_api, f"address,code,created_at\na@example.org,550,{time}\n").json()["imported"] == 1
    assert timezone.now() - Suppression.objects.get().created_at < timezone.timedelta(minutes=5)


def test_an_unsubscription_from_some_tags_only_is_refused(operator_api: APIClient) -> None:
    done = upload(operator_api, "address,tags,created_at\na@example.org,news,\n").json()
    assert (done["imported"], done["refusals"]) == (0, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"a\0b",
        COMPLAINTS.encode(),
        b"to\na@example.org",
        b'address,tags\n"',
        b"address,address,code\n",
    ],
)
def test_a_file_that_cannot_be_read_is_refused(operator_api: APIClient, content: bytes) -> None:
    errors = assert_problem(upload(operator_api, content), 400)["errors"]
    assert [error["field"] for error in errors] == ["file"]
    assert not Suppression.objects.exists()


def test_bad_parameters_are_named(operator_api: APIClient) -> None:
    assert_problem(operator_api.get(f"{EXPORT}?list=all"), 400)
    assert_problem(operator_api.get(f"{EXPORT}?lists=bounces"), 400)
    assert_problem(upload(operator_api, BOUNCES, list="all"), 400)
    assert_problem(operator_api.post(IMPORT, {}, format="multipart"), 400)
    assert_problem(operator_api.post(IMPORT, {"file": "x"}), 415)


def test_others_neither_import_nor_export(api: APIClient) -> None:
    assert_problem(api.get(EXPORT), 403)
    assert_problem(upload(api, BOUNCES), 403)
    assert not Suppression.objects.exists()


def test_the_commands_do_the_same(tmp_path: Path) -> None:
    file, said = tmp_path / "bounces.csv", StringIO()
    file.write_text(BOUNCES)
    call_command("import_suppressions", file, stdout=said)
    assert said.getvalue() == "1 imported, 0 known, 0 refused\n"
    out = StringIO()
    call_command("export_suppressions", list="bounces", stdout=out)
    assert out.getvalue().splitlines()[0] == "address,code,error,created_at"
    file.write_text(COMPLAINTS)
    with pytest.raises(CommandError, match="list"):
        call_command("import_suppressions", file)
    with pytest.raises(CommandError):
        call_command("import_suppressions", tmp_path / "missing.csv")
