"""What becomes of mails by their recipients' names, and the webhooks that tell it, checked by Anymail's own view."""

import pytest
from anymail.exceptions import AnymailWebhookValidationFailure
from hypothesis import given
from hypothesis import strategies as st

from demo.eventually import eventually
from mail.simulator.outcomes import DEFAULT, OUTCOMES, outcome_of
from tests.support.mail.simulator_client import PATIENCE, get, post, understood
from tests.support.servers.simulator import DOMAIN, Simulator
from tests.support.servers.webhook_receiver import WebhookReceiver

pytest_plugins = ["tests.support.mail.simulator_fixtures"]

FATES = {
    "ada": ["delivered"],
    "bounce": ["bounced"],
    "bounce+42": ["bounced"],
    "defer": ["deferred", "delivered"],
    "greylist": ["deferred", "delivered"],
    "complain": ["delivered", "complained"],
    "reject": ["rejected"],
    "slow": ["delivered"],
    "open": ["delivered", "opened"],
    "click": ["delivered", "opened", "clicked"],
    "unsubscribe": ["delivered", "unsubscribed"],
    "delayed-bounce": ["delivered", "bounced"],
    "delayed-soft-bounce": ["delivered", "bounced"],
    "soft-bounce": ["bounced"],
    "user-unknown": ["bounced"],
    "mailbox-full": ["deferred", "bounced"],
    "exhausted": ["deferred", "bounced"],
    "no-mx": ["deferred", "deferred"],
    "espblock": ["bounced"],
    "suppressed-bounce": ["bounced"],
    "suppressed-complaint": ["bounced"],
}
"""By local part, the events in Anymail's words."""
RAW = {
    "bounce": [{"reason": "bounce", "severity": "permanent"}],
    "exhausted": [{"reason": "generic", "severity": "temporary"}, {"reason": "old", "severity": "permanent"}],
    "no-mx": [{"reason": "generic", "severity": "temporary"}, {"reason": "old", "severity": "temporary"}],
    "espblock": [{"reason": "espblock", "severity": "permanent"}],
    "user-unknown": [{"reason": "generic", "severity": "permanent"}],
    "greylist": [{"reason": "greylisted", "severity": "temporary"}, {}],
    "suppressed-complaint": [{"reason": "suppress-complaint", "severity": "permanent"}],
    "click": [{}, {}, {"url": "https://www.example.org/welcome"}],
}
"""What Anymail's event leaves out."""


@pytest.mark.parametrize("local", FATES)
def test_the_local_part_of_the_recipient_decides_the_outcome(
    simulator: Simulator, receiver: WebhookReceiver, local: str
) -> None:
    address = f"{local}@example.org"
    answer = post(simulator, {"to": address, "v:attempt_id": "a1", "v:message_id": "m1", "o:tag": ["one", "two"]})
    webhooks = receiver.wait_for(address, len(FATES[local]))
    events = sorted((understood(body) for body in receiver.bodies), key=lambda event: event.timestamp)
    assert [event.event_type for event in events] == FATES[local]
    assert {event.message_id for event in events} == {answer.json()["id"]}
    assert {event.recipient for event in events} == {address}
    assert all(event.metadata == {"attempt_id": "a1", "message_id": "m1"} for event in events)
    assert all(event.tags == ["one", "two"] for event in events)
    for webhook, expected in zip(webhooks, RAW.get(local, [{}] * len(webhooks)), strict=True):
        assert expected.items() <= webhook["event-data"].items()


def test_every_webhook_has_a_token_of_its_own(simulator: Simulator, receiver: WebhookReceiver) -> None:
    post(simulator, {"to": "click@example.org"})
    tokens = [webhook["signature"]["token"] for webhook in receiver.wait_for("click@example.org", 3)]
    assert len(set(tokens)) == 3
    assert {len(token) for token in tokens} == {50}


def test_a_delayed_bounce_says_so(simulator: Simulator, receiver: WebhookReceiver) -> None:
    post(simulator, {"to": "delayed-bounce@example.org"})
    flags = [
        w["event-data"]["flags"]["is-delayed-bounce"] for w in receiver.wait_for("delayed-bounce@example.org", 2)[1:]
    ]
    assert flags == [True]


def test_a_rejected_event_has_no_recipient(simulator: Simulator, receiver: WebhookReceiver) -> None:
    post(simulator, {"to": "reject@example.org"})
    [webhook] = receiver.wait_for("reject@example.org", 1)
    assert "recipient" not in webhook["event-data"]


@pytest.mark.parametrize(("local", "known"), [("lost", ["delivered", "accepted"]), ("vanish", ["accepted"])])
def test_no_webhook_reports_a_lost_mail(
    simulator: Simulator, receiver: WebhookReceiver, local: str, known: list[str]
) -> None:
    post(simulator, {"to": f"{local}@example.org"})
    post(simulator, {"to": "later@example.org"})
    receiver.wait_for("later@example.org", 1)

    def names() -> list[str]:
        items = get(simulator, "events", recipient=f"{local}@example.org").json()["items"]
        return [item["event"] for item in items]

    eventually(lambda: names() == known, PATIENCE, f"the events API knowing {known}")
    assert receiver.about(f"{local}@example.org") == []


def test_an_early_webhook_comes_before_the_answer(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.configure(latency=0.2)
    answer = post(simulator, {"to": "early@example.org"})
    assert answer.ok
    [webhook] = receiver.about("early@example.org")
    assert f"<{webhook['event-data']['message']['headers']['message-id']}>" == answer.json()["id"]


def test_a_slow_mail_is_answered_slowly(simulator: Simulator) -> None:
    assert post(simulator, {"to": "slow@example.org"}).elapsed.total_seconds() >= 1.9


def test_a_webhook_that_fails_comes_again_with_the_same_signature(
    simulator: Simulator, receiver: WebhookReceiver
) -> None:
    simulator.configure(time_scale=0.00001)
    statuses = iter([500, 302, 404])
    receiver.answer = lambda event: next(statuses, 200)
    post(simulator, {"to": "bounce@example.org"})
    webhooks = receiver.wait_for("bounce@example.org", 4)
    assert all(webhook == webhooks[0] for webhook in webhooks)
    tries = eventually(lambda: len(simulator.webhooks()) == 4 and simulator.webhooks(), PATIENCE, "four tries")
    assert [(sent["try"], sent["status"]) for sent in tries or []] == [(1, 500), (2, 302), (3, 404), (4, 200)]


def test_a_webhook_is_tried_seven_times_at_most(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.configure(time_scale=0.00001)
    receiver.answer = lambda event: 503
    post(simulator, {"to": "bounce@example.org"})
    eventually(lambda: len(simulator.webhooks()) == 7, PATIENCE, "seven tries")
    post(simulator, {"to": "ada@example.org"})
    receiver.wait_for("ada@example.org", 1)
    assert len(receiver.about("bounce@example.org")) == 7


@pytest.mark.parametrize(("local", "status"), [("bounce", 406), ("ada", 500)])
def test_a_406_is_final_and_so_is_a_failed_webhook_about_a_delivery(
    simulator: Simulator, receiver: WebhookReceiver, local: str, status: int
) -> None:
    simulator.configure(time_scale=0.00001)
    receiver.answer = lambda event: status if event["recipient"].startswith(local) else 200
    post(simulator, {"to": f"{local}@example.org"})
    receiver.wait_for(f"{local}@example.org", 1)
    post(simulator, {"to": "click@example.org"})
    receiver.wait_for("click@example.org", 3)
    assert len(receiver.about(f"{local}@example.org")) == 1


def test_webhooks_to_a_closed_port_are_tried_seven_times(simulator: Simulator) -> None:
    simulator.configure(webhook_url="http://127.0.0.1:1/", time_scale=0.00001)
    post(simulator, {"to": "bounce@example.org"})
    eventually(lambda: len(simulator.webhooks()) == 7, PATIENCE, "seven tries")
    assert {sent["status"] for sent in simulator.webhooks()} == {None}


@pytest.mark.parametrize(
    ("kind", "to", "types"),
    [
        ("doubled", "bounce", ["bounced", "bounced"]),
        ("reordered", "complain", ["complained", "delivered"]),
        ("early", "complain", ["delivered", "complained"]),
    ],
)
def test_webhooks_can_be_doubled_and_reordered_on_demand(
    simulator: Simulator, receiver: WebhookReceiver, kind: str, to: str, types: list[str]
) -> None:
    simulator.fault(kind)
    post(simulator, {"to": f"{to}@example.org"})
    webhooks = receiver.wait_for(f"{to}@example.org", len(types))
    assert [understood(body).event_type for body in receiver.bodies] == types
    assert (webhooks[0] == webhooks[-1]) == (kind == "doubled")


def test_a_fault_of_webhooks_hits_its_recipient_only(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.fault("lost", times=None, recipient="ada")
    post(simulator, {"to": "ada@example.org"})
    post(simulator, {"to": "bob@example.org"})
    receiver.wait_for("bob@example.org", 1)
    eventually(lambda: get(simulator, "events", event="delivered").json()["items"][1:], PATIENCE, "both deliveries")
    assert receiver.about("ada@example.org") == []


def test_a_forged_webhook_fails_validation(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.fault("forged")
    post(simulator)
    receiver.wait_for("ada@example.org", 1)
    with pytest.raises(AnymailWebhookValidationFailure):
        understood(receiver.bodies[0])


def test_a_swapped_webhook_is_signed_and_about_somebody_else(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.fault("swapped")
    post(simulator)
    receiver.wait_for("somebody-else@example.org", 1)
    assert understood(receiver.bodies[0]).recipient == "somebody-else@example.org"


def test_a_delayed_webhook_comes_so_much_later(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.fault("delayed", seconds=0.5)
    post(simulator)
    [webhook] = receiver.wait_for("ada@example.org", 1)
    [sent] = eventually(simulator.webhooks, PATIENCE, "the try being noted")
    assert sent["at"] - webhook["event-data"]["timestamp"] > 0.45


@pytest.mark.parametrize(
    "event", ["delivered", "deferred", "bounced", "complained", "opened", "clicked", "unsubscribed"]
)
def test_a_further_webhook_can_be_requested(simulator: Simulator, receiver: WebhookReceiver, event: str) -> None:
    mail_id = post(simulator, {"to": "vanish@example.org"}).json()["id"]
    simulator.tell(mail_id, event)
    receiver.wait_for("vanish@example.org", 1)
    assert understood(receiver.bodies[0]).event_type == event


def test_events_look_as_mailgun_documents_them(simulator: Simulator, receiver: WebhookReceiver) -> None:
    post(simulator, {"to": "click@example.org", "v:attempt_id": "a1"})
    delivered, opened, _ = [webhook["event-data"] for webhook in receiver.wait_for("click@example.org", 3)]
    common = {
        "id",
        "timestamp",
        "log-level",
        "event",
        "recipient",
        "recipient-domain",
        "message",
        "tags",
        "user-variables",
    }
    assert common | {"flags", "envelope", "delivery-status", "storage"} <= delivered.keys()
    assert common | {"client-info", "geolocation", "ip"} <= opened.keys()
    assert delivered["message"]["headers"].keys() == {"to", "from", "subject", "message-id"}
    assert delivered["domain"] == {"name": DOMAIN}
    assert isinstance(delivered["timestamp"], float)


@given(st.sampled_from(sorted(OUTCOMES)), st.from_regex(r"([-+._][a-z0-9._+-]*)?", fullmatch=True))
def test_a_tag_or_a_number_may_follow_the_name(name: str, rest: str) -> None:
    found = outcome_of((name + rest).upper())
    longer = [other for other in OUTCOMES if other.startswith(name)]
    assert found in [OUTCOMES[other] for other in longer]


@pytest.mark.parametrize("local", ["bouncer", "opener", "ada", "", "slowly", "x-bounce"])
def test_other_names_are_delivered(local: str) -> None:
    assert outcome_of(local) is DEFAULT


@pytest.mark.parametrize(
    ("local", "name"), [("bounce17", "bounce"), ("mailbox-full-3", "mailbox-full"), ("old.a", "old")]
)
def test_the_longest_name_counts(local: str, name: str) -> None:
    assert outcome_of(local) is OUTCOMES[name]
