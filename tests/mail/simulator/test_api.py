"""The simulator's messages, events and lists over real HTTP, with Anymail's real backend."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from anymail.exceptions import AnymailRequestsAPIError

from demo.eventually import eventually
from tests.support.mail.simulator_client import AUTH, PATIENCE, get, make_mail, post, understood
from tests.support.servers.simulator import DOMAIN, Simulator
from tests.support.servers.webhook_receiver import WebhookReceiver

pytest_plugins = ["tests.support.mail.simulator_fixtures"]


def test_anymail_sends_a_mail_with_everything_in_it(simulator: Simulator) -> None:
    mail: Any = make_mail(simulator, "Grace Hopper <grace@example.org>")
    mail.attach_alternative("<p>Hi</p>", "text/html")
    mail.attach("report.bin", b"a;b\r\n1;2\r\n\xff\x00", "application/x-report")
    mail.cc, mail.bcc, mail.reply_to = ["cc@example.org"], ["bcc@example.org"], ["help@example.org"]
    mail.extra_headers = {"X-Shelf": "7"}
    mail.tags, mail.metadata = ["one", "two"], {"message_id": "m1", "attempt_id": "a1"}
    assert mail.send() == 1
    assert mail.anymail_status.status == {"queued"}

    [found] = simulator.messages()
    assert mail.anymail_status.message_id == f"<{found['id']}>"
    stored = simulator.message(found["id"])
    assert stored["recipients"] == ["grace@example.org", "cc@example.org", "bcc@example.org"]
    assert (stored["text"], stored["html"], stored["tags"]) == ("Hi", "<p>Hi</p>", ["one", "two"])
    assert stored["headers"] == {"Reply-To": "help@example.org", "X-Shelf": "7"}
    assert stored["variables"] == {"message_id": "m1", "attempt_id": "a1"}
    [file] = stored["files"]
    assert file == {"field": "attachment", "name": "report.bin", "type": "application/x-report", "size": 12}
    content = requests.get(f"{simulator.url}/messages/{found['id']}/files/0", timeout=PATIENCE).content
    assert content == b"a;b\r\n1;2\r\n\xff\x00"


def test_each_accepted_mail_is_counted_by_message_and_attempt(simulator: Simulator) -> None:
    for attempt in ("a1", "a2", "a2"):
        post(simulator, {"v:message_id": "m1", "v:attempt_id": attempt})
    post(simulator, {"v:message_id": "m2", "v:attempt_id": "a3", "to": "nobody"})
    assert simulator.accepted("m1") == 3
    assert simulator.account("m1") == {"calls": 3, "accepted": 3, "attempts": {"a1": 1, "a2": 2}}
    assert simulator.account("m2") == {"calls": 1, "accepted": 0, "attempts": {}}
    assert simulator.accepted("unknown") == 0
    counted = simulator.get("accepted")
    assert (counted["calls"], counted["accepted"], set(counted["messages"])) == (4, 3, {"m1", "m2"})


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"to": "nobody"}, "to parameter is not a valid address. please check documentation"),
        ({"to": ["ada@example.org", "a b@c"]}, "to parameter is not a valid address. please check documentation"),
        ({"to": ""}, "to parameter is not a valid address. please check documentation"),
        ({"cc": "@example.org"}, "cc parameter is not a valid address. please check documentation"),
        ({"to": None}, "'to' parameter is missing"),
        ({"from": None}, "'from' parameter is missing"),
        ({"text": None}, "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"),
        ({"o:tag": ["1", "2", "3", "4"]}, "too many tags: 3 is the maximum"),
        ({"v:much": "x" * 16384}, "o:, h: and v: parameters take 16390 bytes: 16384 is the maximum"),
        ({"to": [f"a{n}@example.org" for n in range(1001)]}, "too many recipients: 1000 is the maximum"),
        ({"recipient-variables": "{"}, "recipient-variables parameter is not valid JSON"),
        ({"recipient-variables": '{"a": 1}'}, "recipient-variables parameter is not a JSON object of objects"),
        ({"o:deliverytime": "soon"}, "o:deliverytime parameter is not a valid date"),
    ],
)
def test_a_bad_form_is_refused_in_mailguns_words(simulator: Simulator, form: dict[str, Any], message: str) -> None:
    answer = post(simulator, form)
    assert (answer.status_code, answer.json()) == (400, {"message": message})
    assert simulator.messages() == []


def test_broken_multipart_is_refused(simulator: Simulator) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    answer = requests.post(
        f"{simulator.api_url}/{DOMAIN}/messages", b"--x", headers=headers, auth=AUTH, timeout=PATIENCE
    )
    assert answer.status_code == 400


def test_a_wrong_key_is_forbidden_in_plain_text(simulator: Simulator) -> None:
    for auth in (None, ("api", "wrong"), ("someone", AUTH[1])):
        answer = post(simulator, auth=auth)
        assert (answer.status_code, answer.text) == (401, "Forbidden")
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_another_domain_is_not_found(simulator: Simulator) -> None:
    with pytest.raises(AnymailRequestsAPIError, match=r"Unknown sender domain 'other\.example'"):
        make_mail(simulator, sender_domain="other.example").send()


def test_more_than_25_megabytes_are_refused(simulator: Simulator) -> None:
    files = [("attachment", ("large", b"x" * 26 * 1024 * 1024))]
    assert post(simulator, files=files).status_code == 413
    assert simulator.messages() == []


def test_recipient_variables_reach_each_recipients_events(simulator: Simulator) -> None:
    mail: Any = make_mail(simulator, "ada@example.org")
    mail.to = ["ada@example.org", "bob@example.org"]
    mail.merge_metadata = {"ada@example.org": {"seat": "1"}, "bob@example.org": {"seat": "2"}}
    mail.send()

    def delivered() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = get(simulator, "events", event="delivered").json()["items"]
        return items

    eventually(lambda: len(delivered()) == 2, PATIENCE, "both deliveries")
    items = delivered()
    assert {item["recipient"]: item["user-variables"]["seat"] for item in items} == {
        "ada@example.org": "1",
        "bob@example.org": "2",
    }


def test_a_mail_for_later_is_delivered_later(simulator: Simulator, receiver: WebhookReceiver) -> None:
    """An hour is 0.36 seconds here."""
    mail: Any = make_mail(simulator, "ada@example.org")
    mail.send_at = datetime.now(UTC) + timedelta(hours=2)
    mail.send()
    [webhook] = receiver.wait_for("ada@example.org", 1)
    [accepted] = get(simulator, "events", event="accepted").json()["items"]
    assert webhook["event-data"]["timestamp"] - accepted["timestamp"] > 0.5


def test_a_hundred_mails_wait_for_their_answers_together(simulator: Simulator) -> None:
    """One after the other they would take fifty seconds."""
    simulator.configure(latency=0.5)
    started = time.monotonic()
    with ThreadPoolExecutor(50) as threads:
        statuses = [answer.status_code for answer in threads.map(lambda _: post(simulator), range(100))]
    assert statuses == [200] * 100
    assert 1.0 <= time.monotonic() - started < 45


def test_events_are_found_by_recipient_kind_message_and_time(simulator: Simulator) -> None:
    before = time.time()
    wanted = post(simulator, {"to": "open@example.org", "v:attempt_id": "a1"}).json()["id"]
    post(simulator, {"to": "bounce@example.org"})
    eventually(lambda: len(get(simulator, "events").json()["items"]) == 5, PATIENCE, "five events")

    def names(**query: Any) -> list[str]:
        return [item["event"] for item in get(simulator, "events", **query).json()["items"]]

    of_one = {"recipient": "OPEN@example.org"}
    assert names(**of_one) == ["opened", "delivered", "accepted"]
    assert names(**of_one, ascending="yes") == ["accepted", "delivered", "opened"]
    assert names(**of_one, begin=f"{before - 60:.0f}", ascending="yes") == ["accepted", "delivered", "opened"]
    assert names(**{"message-id": wanted}, event="opened OR delivered") == ["opened", "delivered"]
    assert names(event="failed") == ["failed"]
    assert names(begin=f"{time.time() + 60:.0f}", ascending="yes") == []
    assert names(begin=f"{before - 120:.0f}", end=f"{before - 60:.0f}") == []
    [item] = get(simulator, "events", event="delivered").json()["items"]
    assert item["user-variables"] == {"attempt_id": "a1"}


def test_pages_of_events_lead_through_all_of_them(simulator: Simulator) -> None:
    to = [f"a{n}@example.org" for n in range(10)]
    post(simulator, {"to": to})
    eventually(lambda: len(get(simulator, "events").json()["items"]) == 20, PATIENCE, "twenty events")
    page = get(simulator, "events", limit=7, ascending="yes").json()
    seen: list[str] = []
    while page["items"]:
        assert len(page["items"]) <= 7
        seen += [item["id"] for item in page["items"]]
        page = requests.get(page["paging"]["next"], auth=AUTH, timeout=PATIENCE).json()
    assert len(seen) == len(set(seen)) == 20


@pytest.mark.parametrize("query", [{"limit": "301"}, {"limit": "0"}, {"limit": "x"}, {"begin": "yesterday"}])
def test_bad_parameters_of_events_are_refused(simulator: Simulator, query: dict[str, str]) -> None:
    assert get(simulator, "events", **query).status_code == 400


@pytest.mark.parametrize("token", ["x", "e30", "eyJiZWdpbiI6ICJ4In0", "bnVsbA"])
def test_a_made_up_page_is_refused(simulator: Simulator, token: str) -> None:
    assert get(simulator, f"events/{token}").status_code == 400


def test_events_are_indexed_late(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.configure(index_delay=3600)
    post(simulator)
    receiver.wait_for("ada@example.org", 1)
    assert get(simulator, "events").json()["items"] == []
    simulator.configure(index_delay=0.5)
    post(simulator, {"to": "bob@example.org"})
    eventually(lambda: len(get(simulator, "events").json()["items"]) == 2, PATIENCE, "both events being indexed")
    found = get(simulator, "events").json()["items"]
    assert {item["recipient"] for item in found} == {"bob@example.org"}
    assert time.time() - found[0]["timestamp"] >= 0.25


@pytest.mark.parametrize(
    ("name", "local", "code"),
    [("bounces", "bounce", 605), ("complaints", "complain", 607), ("unsubscribes", "unsubscribe", 606)],
)
def test_an_address_on_mailguns_list_fails_at_once(
    simulator: Simulator, receiver: WebhookReceiver, name: str, local: str, code: int
) -> None:
    address = f"{local}@example.org"
    post(simulator, {"to": address})
    eventually(lambda: get(simulator, f"{name}/{address}").ok, PATIENCE, f"{address} being listed")
    [entry] = get(simulator, name).json()["items"]
    assert entry["address"] == address
    known = len(receiver.wait_for(address, 1 if local == "bounce" else 2))
    post(simulator, {"to": address})
    last = receiver.wait_for(address, known + 1)[-1]["event-data"]
    assert (last["event"], last["severity"], last["delivery-status"]["code"]) == ("failed", "permanent", code)
    assert last["reason"] == f"suppress-{name.removesuffix('s')}"

    url = f"{simulator.api_url}/{DOMAIN}/{name}"
    assert requests.delete(f"{url}/{address}", auth=AUTH, timeout=PATIENCE).ok
    assert requests.delete(f"{url}/{address}", auth=AUTH, timeout=PATIENCE).status_code == 404
    assert get(simulator, f"{name}/{address}").status_code == 404


def test_lists_can_be_filled_and_emptied(simulator: Simulator) -> None:
    url = f"{simulator.api_url}/{DOMAIN}/bounces"
    assert requests.post(url, {"address": "Ada@example.org", "error": "no"}, auth=AUTH, timeout=PATIENCE).ok
    assert get(simulator, "bounces/ada@example.org").json()["error"] == "no"
    assert requests.post(url, {"address": "nobody"}, auth=AUTH, timeout=PATIENCE).status_code == 400
    assert requests.delete(url, auth=AUTH, timeout=PATIENCE).ok
    assert get(simulator, "bounces").json()["items"] == []


def test_unknown_paths_and_methods_are_refused(simulator: Simulator) -> None:
    assert get(simulator, "nothing").status_code == 404
    assert requests.put(f"{simulator.api_url}/{DOMAIN}/messages", auth=AUTH, timeout=PATIENCE).status_code == 405


def test_webhooks_about_accepted_mail_can_be_switched_on(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.configure(accepted_webhooks=True)
    post(simulator)
    receiver.wait_for("ada@example.org", 2)
    assert sorted(understood(body).event_type for body in receiver.bodies) == ["delivered", "queued"]
