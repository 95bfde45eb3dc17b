"""Mail as operators see it: nothing of what others wrote becomes part of the page, and little can be changed."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mail.broadcasts.funnel import funnel
from mail.models import Alert, Attachment, Attempt, Broadcast, Event, Message, Provider, Suppression, Template
from mail.status import Status
from tests.support.factories import make_job, make_user
from tests.support.mail.messages import make_message

pytest_plugins = ["tests.support.operator_fixtures"]
pytestmark = pytest.mark.django_db

EVIL = "<script>alert(1)</script>\"'"
LISTS = ["message", "event", "suppression", "alert", "provider", "template", "broadcast"]


def list_of(what: str) -> str:
    return reverse(f"admin:mail_{what}_changelist")


def page_of(row: Any) -> str:
    return reverse(f"admin:mail_{row._meta.model_name}_change", args=[row.pk])


def make_everything() -> list[Any]:
    """A row of each, with all that others could have written into it."""
    user = make_user(f"user-{User.objects.count()}")
    message = make_message(
        Status.BOUNCED,
        user=user,
        to=EVIL,
        subject=EVIL,
        text=EVIL,
        html=EVIL,
        headers={EVIL: EVIL},
        tags=[EVIL],
        metadata={EVIL: EVIL},
        reply_to=[EVIL],
        failure={"class": "hard_bounce", "detail": EVIL},
    )
    attempt = Attempt.objects.create(message=message, provider=EVIL[:50], outcome="permanent", detail=EVIL)
    event = Event.objects.create(
        message=message, attempt=attempt, source="webhook", type="bounced", detail=EVIL, raw={EVIL: EVIL}
    )
    Attachment.objects.create(message=message, filename=EVIL, content_type="a/b", content=b"x")
    suppression = Suppression.objects.suppress("ada@example.org", "bounce", "all", None, source=EVIL)
    content = {"subject": EVIL, "text": EVIL, "html": EVIL}
    return [
        message,
        event,
        suppression,
        Alert.objects.create(kind="hard_bounce", detail=EVIL, message=message),
        Provider.objects.create(name="mailgun", reason=EVIL),
        Template.objects.create(user=user, name="news", **content),
        Broadcast.objects.create(user=user, recipients=[{"to": EVIL, "context": {}}], **content),
    ]


@pytest.mark.parametrize("what", LISTS)
def test_users_without_staff_status_are_sent_to_the_login(what: str) -> None:
    browser = Client()
    browser.force_login(make_user())
    assert browser.get(list_of(what)).status_code == 302
    trainee = Client()
    trainee.force_login(User.objects.create_user("trainee", is_staff=True))
    assert trainee.get(list_of(what)).status_code == 403


def test_nothing_that_others_wrote_becomes_part_of_a_page(operator: Client) -> None:
    for row in make_everything():
        for path in (page_of(row), list_of(row._meta.model_name)):
            answer = operator.get(path)
            assert answer.status_code == 200, path
            assert EVIL not in answer.content.decode(), path


def test_a_message_shows_all_that_is_known_of_it(operator: Client) -> None:
    message = make_message(Status.BOUNCED, text="Dear Ada", html="<b>Dear</b>", provider="mailgun")
    attempt = Attempt.objects.create(
        message=message,
        provider="mailgun",
        outcome="accepted",
        finished_at=timezone.now(),
        provider_message_id="<1@mg>",
    )
    Event.objects.create(
        message=message, attempt=attempt, source="webhook", type="bounced", raw={"severity": "permanent"}
    )
    text = operator.get(page_of(message)).content.decode()
    for part in ("Dear Ada", "attempt_started", "accepted", "bounced", "&lt;1@mg&gt;", "severity", "permanent"):
        assert part in text, part


def test_html_is_shown_in_a_frame_where_nothing_runs_and_nothing_is_loaded(operator: Client) -> None:
    message = make_message(html='<img src="https://tracker.example/x.png"><script>alert(1)</script>')
    text = operator.get(page_of(message)).content.decode()
    assert "<iframe sandbox " in text
    assert "default-src &#x27;none&#x27;" in text
    assert "<script>alert" not in text
    assert 'src="https://tracker' not in text


@pytest.mark.parametrize("status", sorted(Status))
def test_a_message_in_any_state_has_a_page(operator: Client, status: Status) -> None:
    assert operator.get(page_of(make_message(status))).status_code == 200


def test_messages_can_be_searched_and_filtered(operator: Client) -> None:
    found, _ = make_message(address="grace@example.org"), make_message(Status.DELIVERED)
    for query in ("q=grace@example.org", f"q={found.pk}", "status__exact=queued"):
        answer = operator.get(f"{list_of('message')}?{query}")
        assert set(answer.context["cl"].result_list) == {found}, query


def test_a_longer_list_takes_no_more_queries(operator: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        make_message(user=make_user(f"user-{number}"))
    with django_assert_max_num_queries(12):
        assert operator.get(list_of("message")).status_code == 200


def test_cancelling_stops_what_waits(operator: Client) -> None:
    waiting, sent = make_message(), make_message(Status.SENT)
    chosen = {"action": "cancel", "_selected_action": [waiting.pk, sent.pk]}
    answer = operator.post(list_of("message"), chosen, follow=True)
    waiting.refresh_from_db()
    sent.refresh_from_db()
    assert (waiting.status, sent.status) == ("cancelled", "sent")
    said = [str(message) for message in answer.context["messages"]]
    assert "1 cancelled." in said
    assert any(str(sent.pk) in each for each in said)


@pytest.mark.parametrize("what", sorted(set(LISTS) - {"suppression"}))
def test_only_suppressions_can_be_added_in_the_admin(operator: Client, what: str) -> None:
    assert operator.get(f"{list_of(what)}add/").status_code == 403


def test_a_row_is_shown_and_not_edited(operator: Client) -> None:
    for row in make_everything():
        before = type(row).objects.values().get(pk=row.pk)
        assert operator.post(page_of(row), {"status": "sent", "subject": "x", "scope": "bulk"}).status_code in (
            302,
            403,
        )
        assert type(row).objects.values().get(pk=row.pk) == before


def test_an_address_is_suppressed_and_lifted(operator: Client) -> None:
    form = {
        "address": "Ada <ADA@example.org>",
        "reason": "manual",
        "scope": "all",
        "expires_at_0": "",
        "expires_at_1": "",
    }
    assert operator.get(f"{list_of('suppression')}add/").status_code == 200
    assert operator.post(f"{list_of('suppression')}add/", form).status_code == 302
    made = Suppression.objects.against("ada@example.org", "normal")
    assert made
    assert (made.address, made.source) == ("ada@example.org", "operator")
    assert operator.post(f"{list_of('suppression')}add/", form).status_code == 302
    delete = reverse("admin:mail_suppression_delete", args=[made.pk])
    assert operator.post(delete, {"reason": "Ada asked for it"}).status_code == 302
    assert not Suppression.objects.exists()
    entry = LogEntry.objects.get(action_flag=DELETION)
    assert (entry.change_message, entry.object_id) == ("Ada asked for it", str(made.pk))
    assert "ada@example.org" not in entry.object_repr


@pytest.mark.parametrize("reason", ["", "  "])
def test_lifting_without_a_reason_asks_for_one(operator: Client, reason: str) -> None:
    made = Suppression.objects.suppress("ada@example.org", "bounce", "all", None, source="mailgun")
    answer = operator.post(reverse("admin:mail_suppression_delete", args=[made.pk]), {"reason": reason, "post": "yes"})
    assert "ada@example.org" in answer.content.decode()
    assert Suppression.objects.exists()
    assert not LogEntry.objects.exists()


def test_several_are_lifted_for_one_reason(operator: Client) -> None:
    for number in range(25):
        Suppression.objects.suppress(f"a{number}@example.org", "bounce", "all", None, source="mailgun")
    keys = list(Suppression.objects.values_list("pk", flat=True)[:24])
    chosen = {"action": "lift", "_selected_action": keys}
    asked = operator.post(list_of("suppression"), chosen)
    assert "and 4 more" in asked.content.decode()
    assert Suppression.objects.count() == 25
    again = dict(asked.context["hidden"]) | {"_selected_action": keys, "reason": "their server was down"}
    assert operator.post(list_of("suppression"), again).status_code == 302
    assert Suppression.objects.count() == 1
    assert set(LogEntry.objects.values_list("change_message", flat=True)) == {"their server was down"}
    assert LogEntry.objects.count() == 24


def test_a_broadcast_shows_how_far_its_messages_have_come(operator: Client) -> None:
    broadcast = Broadcast.objects.create(user=make_user(), subject="News", text="x", recipients=[])
    now = timezone.now()
    for number, (status, fields) in enumerate(
        [
            (Status.QUEUED, {}),
            (Status.DEFERRED, {"sent_at": now}),
            (Status.DELIVERED, {"sent_at": now, "opens": 3, "clicks": 1}),
            (Status.COMPLAINED, {"sent_at": now, "opens": 1}),
            (Status.BOUNCED, {"sent_at": now}),
            (Status.SUPPRESSED, {}),
        ]
    ):
        make_message(status, broadcast=broadcast, address=f"a{number}@example.org", **fields)
    make_message(Status.DELIVERED)
    expected = {"made": 6, "queued": 1, "sent": 4, "delivered": 2, "opened": 2, "clicked": 1}
    expected |= {"deferred": 1, "bounced": 1, "complained": 1, "not_sent": 1}
    assert {step.name: step.count for step in funnel(broadcast)} == expected
    text = operator.get(page_of(broadcast)).content.decode()
    assert '<td>delivered</td><td>2</td><td><progress class="lw-progress" max="100" value="33"' in text


@pytest.mark.parametrize("from_the_list", [False, True])
def test_mail_that_waits_for_a_provider_is_tried_when_its_row_is_deleted(operator: Client, from_the_list: bool) -> None:
    row = Provider.objects.create(name="mailgun", opened_at=timezone.now())
    later = timezone.now() + timedelta(minutes=10)
    waits = make_job("retrying", kind="mail.send", run_at=later)
    if from_the_list:
        chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        assert operator.post(list_of("provider"), chosen).status_code == 302
    else:
        assert operator.post(reverse("admin:mail_provider_delete", args=[row.pk]), {"post": "yes"}).status_code == 302
    waits.refresh_from_db()
    assert not Provider.objects.exists()
    assert waits.run_at < timezone.now() + timedelta(seconds=2)


@pytest.mark.parametrize("address", ["", "nobody", "a@b@c"])
def test_an_invalid_address_is_not_suppressed(operator: Client, address: str) -> None:
    form = {"address": address, "reason": "manual", "scope": "all"}
    answer = operator.post(f"{list_of('suppression')}add/", form)
    assert answer.status_code == 200
    assert "address" in answer.context["adminform"].form.errors
    assert not Suppression.objects.exists()


def test_a_forgotten_address_is_not_shown(operator: Client) -> None:
    made = Suppression.objects.suppress("ada@example.org", "bounce", "all", None, source="mailgun")
    Suppression.objects.update(address="")
    text = operator.get(list_of("suppression")).content.decode()
    assert made.digest[:12] in text


def test_looking_is_not_enough_to_change(operator: Client) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    permissions = viewer.user_permissions.model.objects.filter(codename__in=["view_message", "view_suppression"])
    viewer.user_permissions.set(permissions)
    browser = Client()
    browser.force_login(viewer)
    message = make_message()
    assert browser.get(list_of("message")).status_code == 200
    browser.post(list_of("message"), {"action": "cancel", "_selected_action": [message.pk]})
    assert Message.objects.get().status == "queued"
    made = Suppression.objects.suppress("ada@example.org", "bounce", "all", None, source="mailgun")
    delete = reverse("admin:mail_suppression_delete", args=[made.pk])
    assert browser.post(delete, {"reason": "I want to"}).status_code == 403
    browser.post(list_of("suppression"), {"action": "lift", "_selected_action": [made.pk], "reason": "I want to"})
    assert Suppression.objects.exists()
    assert browser.post(f"{list_of('suppression')}add/", {"address": "a@example.org"}).status_code == 403


def test_disregarded_events_can_be_filtered_and_show_why(operator: Client) -> None:
    believed = Event.objects.create(message=make_message(), source="webhook", type="delivered")
    other = Event.objects.create(source="webhook", type="bounced", disregarded="no such attempt", raw={"a": 1})
    for query, found in (("believed=no", {other}), ("believed=yes", {believed}), ("", {believed, other})):
        assert set(operator.get(f"{list_of('event')}?{query}").context["cl"].result_list) == found
    assert "no such attempt" in operator.get(page_of(other)).content.decode()


def test_a_breaker_is_opened_and_closed_by_hand(operator: Client) -> None:
    switch = reverse("admin:mail_provider_switch")
    assert "Open its breaker" in operator.get(list_of("provider")).content.decode()
    operator.post(switch, {"name": "mailgun", "to": "open", "reason": "they move"})
    row = Provider.objects.get(name="mailgun")
    assert row.opened_at
    assert row.reason == "operator: they move"
    waits = make_job("retrying", kind="mail.send", run_at=timezone.now() + timedelta(minutes=10))
    operator.post(switch, {"name": "mailgun", "to": "closed"})
    row.refresh_from_db()
    waits.refresh_from_db()
    assert row.opened_at is None
    assert waits.run_at < timezone.now() + timedelta(seconds=2)
    assert operator.get(switch).status_code == 403


def test_looking_is_not_enough_to_open_a_breaker_and_an_unknown_one_is_refused(operator: Client) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(viewer.user_permissions.model.objects.filter(codename="view_provider"))
    browser = Client()
    browser.force_login(viewer)
    switch = reverse("admin:mail_provider_switch")
    assert browser.post(switch, {"name": "mailgun", "to": "open"}).status_code == 403
    operator.post(switch, {"name": "nobody", "to": "open"})
    assert not Provider.objects.exists()
