"""How long what people were written is kept, and how a person is forgotten."""

import json
import logging
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from jobs.submit import submit
from mail.addresses.normalize import address_digest
from mail.events import apply, ingest
from mail.events.provider_event import from_mailgun
from mail.management.commands import forget_address
from mail.models import Alert, Attachment, Attempt, Broadcast, Event, Message, StreamSuppression, Suppression
from mail.privacy import forgetting
from mail.status import Status
from rest.models import IdempotencyKey
from tests.support.api_clients import client, make_token
from tests.support.concurrency import until_it_waits
from tests.support.factories import do_all_chores, make_job, make_user
from tests.support.mail.mailgun_webhooks import make_attempt, make_event
from tests.support.mail.messages import make_message, post, url

pytestmark = pytest.mark.django_db

ADA, GRACE = "ada@example.org", "grace@example.org"
LONG_AGO = timedelta(days=31)


def make_old(status: str = Status.DELIVERED, **fields: Any) -> Message:
    then = timezone.now() - LONG_AGO
    finished = {"finished_at": then} if status == Status.DELIVERED else {}
    return make_message(status, **{"created_at": then, "html": "<b>", **finished, **fields})


def make_broadcast(*to: str, **fields: Any) -> Broadcast:
    recipients = [{"to": each, "context": {"name": "Ada"}} for each in to]
    usual = {"user": make_user(f"user-{Broadcast.objects.count()}"), "subject": "News", "text": "T"}
    return Broadcast.objects.create(**usual | {"recipients": recipients} | fields)


# --- retention -----------------------------------------------------------------------------------------------------


def test_old_bodies_are_erased_and_what_happened_is_kept() -> None:
    message = make_old(user=make_user())
    Attachment.objects.create(message=message, filename="a", content_type="a/b", content=b"x")
    Event.objects.create(message=message, source="webhook", type="delivered", raw={"a": 1})
    do_all_chores()
    message.refresh_from_db()
    assert (message.text, message.html, message.subject) == ("", "", "Hi")
    assert message.erased_at
    assert not Attachment.objects.exists()
    assert message.events.get().raw is None
    before = message.erased_at
    do_all_chores()
    message.refresh_from_db()
    assert message.erased_at == before


def test_the_content_of_an_event_about_an_erased_message_is_not_stored() -> None:
    """Its event is counted, and kept without its content."""
    attempt = make_attempt(make_old())
    do_all_chores()
    opened = make_event(attempt, "opened", ip="192.0.2.1", geolocation={"city": "London"})
    taken = ingest.ingest(from_mailgun(opened))
    assert taken
    assert ingest.ingest(from_mailgun(opened)) is None
    apply.apply(taken.pk)
    assert (Event.objects.get().raw, Message.objects.get().opens) == (None, 1)


def test_an_erased_message_is_still_shown() -> None:
    ada = make_user()
    message = make_old(user=ada)
    do_all_chores()
    shown = client(make_token(ada)).get(url(message)).json()
    assert (shown["subject"], shown["status"]) == ("Hi", "delivered")


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (Status.SCHEDULED, {}),
        (Status.QUEUED, {}),
        (Status.SENDING, {}),
        (Status.DELIVERED, {"finished_at": timezone.now()}),
        (Status.DELIVERED, {"created_at": timezone.now()}),
        (Status.SENT, {"sent_at": timezone.now()}),
    ],
)
def test_what_is_young_or_has_to_be_sent_is_kept(status: str, fields: dict[str, Any]) -> None:
    message = make_old(status, **fields)
    do_all_chores()
    message.refresh_from_db()
    assert (message.text, message.erased_at) == ("There", None)


def test_a_sent_message_without_events_is_erased_too() -> None:
    message = make_old(Status.SENT, sent_at=timezone.now() - LONG_AGO)
    do_all_chores()
    message.refresh_from_db()
    assert message.erased_at


def test_many_bodies_are_erased_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mail.privacy.retention.BATCH", 2)
    for _ in range(5):
        make_old()
    do_all_chores()
    assert not Message.objects.filter(erased_at=None).exists()


def test_recipients_of_old_broadcasts_are_erased_unless_their_job_still_needs_them() -> None:
    then = timezone.now() - LONG_AGO
    done, given_up = make_broadcast(ADA, created_at=then, finished_at=then), make_broadcast(ADA, created_at=then)
    waiting, young = make_broadcast(ADA, created_at=then), make_broadcast(ADA, finished_at=timezone.now())
    make_job("failed", kind="mail.broadcast", params={"broadcast": str(given_up.pk)})
    submit("mail.broadcast", {"broadcast": str(waiting.pk)})
    do_all_chores()
    kept = {broadcast.pk for broadcast in Broadcast.objects.exclude(recipients=[])}
    assert kept == {waiting.pk, young.pk}
    assert kept & {done.pk, given_up.pk} == set()


def test_old_messages_are_deleted_with_all_that_is_known_of_them() -> None:
    long_ago = timezone.now() - timedelta(days=366)
    old = make_message(Status.DELIVERED, user=make_user(), created_at=long_ago, finished_at=long_ago)
    attempt = make_attempt(old)
    ingest.ingest(from_mailgun(make_event(attempt)))
    Alert.objects.create(kind="hard_bounce", message=old)
    Attachment.objects.create(message=old, filename="a", content_type="a/b", content=b"x")
    silent = make_message(Status.SENT, created_at=long_ago, sent_at=long_ago)
    young = make_old(finished_at=timezone.now() - LONG_AGO)
    pending = make_message(Status.SCHEDULED, created_at=long_ago, send_at=timezone.now())
    then = make_broadcast(created_at=long_ago, finished_at=long_ago)
    do_all_chores()
    assert set(Message.objects.values_list("pk", flat=True)) == {young.pk, pending.pk}
    assert silent.pk not in (young.pk, pending.pk)
    assert not any(model.objects.exists() for model in (Attempt, Event, Attachment))
    assert Alert.objects.get().message is None
    assert not Broadcast.objects.filter(pk=then.pk).exists()


def test_retention_is_read_at_the_start_and_must_make_sense() -> None:
    said = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings.test", "MAIL_RETENTION": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode != 0
    assert "MAIL_RETENTION must not be less than MAIL_BODY_RETENTION." in said.stderr


# --- forgetting ----------------------------------------------------------------------------------------------------


def forget(address: str = ADA) -> str:
    said = StringIO()
    call_command("forget_address", address, yes=True, stdout=said)
    return said.getvalue()


def everything() -> str:
    """All that the tables of mail say, as text."""
    models = (Message, Event, Attempt, Alert, Broadcast, Suppression, StreamSuppression, IdempotencyKey)
    return json.dumps([list(model.objects.values()) for model in models], default=str).lower()


def test_a_person_is_forgotten_everywhere() -> None:
    ada = make_user("somebody")
    api = client(make_token(ada))
    post(
        api, {"Idempotency-Key": "k"}, to=f"Ada Lovelace <{ADA.upper()}>", subject="Dear Ada", metadata={"name": "Ada"}
    )
    failure = {"class": "hard_bounce", "detail": f"<{ADA}> unknown"}
    message = make_message(
        Status.BOUNCED,
        user=ada,
        subject="Ada!",
        headers={"X-Name": "Ada"},
        failure=failure,
        reply_to=[ADA],
        tags=[f"of-{ADA}"],
    )
    Attachment.objects.create(message=message, filename="ada", content_type="a/b", content=b"x")
    attempt = Attempt.objects.create(message=message, provider="mailgun", outcome="permanent", detail=f"no {ADA} here")
    said = f"550 5.1.1 <{ADA.upper()}>: user unknown"
    Event.objects.create(
        message=message, attempt=attempt, source="webhook", type="bounced", detail=said, raw={"to": ADA}
    )
    Event.objects.create(source="webhook", type="bounced", raw={"recipient": ADA}, disregarded="foreign")
    Alert.objects.create(kind="hard_bounce", detail=said, message=message)
    broadcast = make_broadcast(f"Ada <{ADA}>", GRACE)
    Suppression.objects.suppress(ADA, "bounce", "all", None, source="mailgun")
    StreamSuppression.objects.add(ada.pk, "news", address_digest(ADA), ADA, "one-click")

    report = forget(ADA.upper())

    found = everything()
    assert ADA not in found
    assert "lovelace" not in found
    assert "dear ada" not in found
    message.refresh_from_db()
    assert (message.status, message.subject, message.to, message.address) == ("bounced", "", "", "")
    assert message.events.count() == 1
    broadcast.refresh_from_db()
    assert broadcast.recipients[0] is None
    assert broadcast.recipients[1]["to"] == GRACE
    assert Suppression.objects.against(ADA, "normal")
    assert Suppression.objects.get().address == ""
    assert StreamSuppression.objects.forbids(ada.pk, "news", ADA)
    assert "2 messages" in report
    assert "a***@example.org was forgotten" in report


def test_answers_to_mail_of_others_do_not_go_to_them() -> None:
    other = make_message(
        to=GRACE,
        address=GRACE,
        reply_to=[f"Ada <{ADA.upper()}>", "office@example.org"],
        headers={"X-From": f"by {ADA}"},
        tags=[ADA, "news"],
        metadata={"agent": ADA, "n": "1"},
    )
    assert "1 mentions" in forget()
    other.refresh_from_db()
    assert (other.reply_to, other.tags) == (["office@example.org"], ["(forgotten)", "news"])
    assert (other.headers, other.metadata) == ({"X-From": "by (forgotten)"}, {"agent": "(forgotten)", "n": "1"})
    assert (other.to, other.text, other.status) == (GRACE, "There", "queued")


def test_answers_to_a_broadcast_do_not_go_to_them() -> None:
    broadcast = make_broadcast(GRACE, reply_to=[f"Ada <{ADA}>", "office@example.org"], tags=[ADA.upper(), "news"])
    emptied = make_broadcast(reply_to=[ADA])
    forget()
    for each in (broadcast, emptied):
        each.refresh_from_db()
    assert (broadcast.reply_to, broadcast.tags) == (["office@example.org"], ["(forgotten)", "news"])
    assert [row["to"] for row in broadcast.recipients] == [GRACE]
    assert emptied.reply_to == []
    assert ADA not in everything()


@pytest.mark.parametrize(
    "other", ["diana@b.com", "diana@b.co", "ana@b.com", "ana@b.co.uk", "x.ana@b.co", "d'ana@b.co", "x/ana@b.co"]
)
def test_an_address_that_contains_the_forgotten_one_is_left_alone(other: str) -> None:
    api = client(make_token(make_user("somebody")))
    body = {"to": GRACE, "reply_to": [other], "metadata": {"agent": other}, "send_at": "2100-01-01T00:00:00Z"}
    made = post(api, {"Idempotency-Key": "k"}, **body)
    Alert.objects.create(kind="hard_bounce", detail=f"<{other}> unknown")
    Event.objects.create(source="webhook", type="bounced", raw={"recipient": other}, disregarded="x")
    make_broadcast(f"not an address {other} at all", reply_to=[other], tags=[other])
    before = everything()
    forget("ana@b.co")
    assert everything() == before
    again = post(api, {"Idempotency-Key": "k"}, **body)
    assert again.json()["id"] == made.json()["id"]


@pytest.mark.parametrize("written", ["(ana@b.co)", "'Ana@b.co'", "to=ana@b.co", "wrote ana@b.co.", "mailto:ANA@b.co?x"])
def test_an_address_is_found_whatever_stands_around_it(written: str) -> None:
    Alert.objects.create(kind="hard_bounce", detail=written)
    forget("ana@b.co")
    assert "(forgotten)" in Alert.objects.get().detail
    assert "ana@b.co" not in everything()


@pytest.mark.parametrize("written", ["ada@müller.example", "ADA@xn--mller-kva.example", "ada@MÜLLER.example"])
def test_a_domain_is_known_in_every_spelling(written: str) -> None:
    api = client(make_token(make_user("somebody")))
    post(api, {"Idempotency-Key": "k"}, to=written, reply_to=[written])
    post(api, {"Idempotency-Key": "l"}, to=GRACE, reply_to=[written])
    Event.objects.create(source="webhook", type="bounced", raw={"recipient": "ada@müller.example"}, disregarded="x")
    forget(written)
    assert not re.search("m(ü|\\\\u00fc)ller|mller-kva", everything())


def test_mail_that_waits_is_not_sent() -> None:
    waiting = make_message(Status.QUEUED)
    assert "1 cancelled" in forget()
    waiting.refresh_from_db()
    assert (waiting.status, waiting.text) == ("cancelled", "")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no locks of rows.")
@pytest.mark.django_db(transaction=True)
def test_two_people_who_are_forgotten_at_once_are_both_removed_from_a_broadcast() -> None:
    broadcast = make_broadcast(ADA, GRACE, "edsger@example.org")
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        forgetting.forget(ADA)
        forgotten = until_it_waits(pool, lambda: forgetting.forget(GRACE))
    assert forgotten.result()["broadcasts"] == 1
    broadcast.refresh_from_db()
    assert [row and row["to"] for row in broadcast.recipients] == [None, None, "edsger@example.org"]
    assert broadcast.refusals == 2


def test_others_are_left_alone() -> None:
    other = make_message(Status.DELIVERED, to=GRACE, address=GRACE, metadata={"a": "b"})
    Event.objects.create(message=other, source="webhook", type="delivered", raw={"recipient": GRACE})
    Suppression.objects.suppress(GRACE, "bounce", "all", None, source="mailgun")
    before = everything()
    forget()
    assert everything() == before


def test_the_suppression_of_a_forgotten_person_keeps_their_digest() -> None:
    Suppression.objects.suppress(ADA, "bounce", "all", None, source="mailgun")
    forget()
    assert Suppression.objects.get().digest == address_digest(ADA)


@pytest.mark.parametrize("answer", ["no", "", "y"])
def test_forget_address_asks_first(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    make_message(Status.DELIVERED)
    monkeypatch.setattr(forget_address, "input", lambda question: answer, raising=False)
    with pytest.raises(CommandError):
        call_command("forget_address", ADA)
    assert Message.objects.get().address == ADA


def test_forgetting_an_invalid_address_is_refused() -> None:
    with pytest.raises(CommandError, match="@"):
        forget("nobody")


def test_no_line_of_log_says_whom_mail_is_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ada = make_user("somebody")
    api = client(make_token(ada))
    answer = post(api, to=f"Ada <{ADA}>")
    api.post(f"{answer.json()['url']}cancellation/")
    operator = client(make_token(make_user("operator")))
    operator.get(f"/api/v1/mail/suppressions/{ADA}/")
    forget()
    assert "cancel" in caplog.text
    assert "/api/v1/mail/suppressions/…/" in caplog.text
    assert ADA not in caplog.text
