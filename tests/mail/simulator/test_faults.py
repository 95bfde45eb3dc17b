"""What the simulator lets go wrong, as Anymail sees it, and how often it has accepted the mail all the same."""

import base64
import json
import socket
import time
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from anymail.exceptions import AnymailRequestsAPIError
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.eventually import eventually
from mail.simulator.config import Config
from mail.simulator.faults import KINDS
from tests.support.mail.simulator_client import AUTH, FORM, PATIENCE, get, make_mail, post
from tests.support.servers.simulator import API_KEY, DOMAIN, Simulator
from tests.support.servers.webhook_receiver import WebhookReceiver

pytest_plugins = ["tests.support.mail.simulator_fixtures"]

HASTE = 0.2
"""Seconds that a client waits for an answer that will not come."""

SEEN = {
    "timeout-before": (None, requests.ReadTimeout),
    "timeout-after": (None, requests.ReadTimeout),
    "drop-before": (None, requests.ConnectionError),
    "drop": (None, requests.ConnectionError),
    "truncated": (None, requests.exceptions.ChunkedEncodingError),
    "html": (200, None),
    **{str(code): (code, None) for code in (400, 401, 402, 403, 404, 413, 420, 429, 500, 502, 503, 504)},
    "sandbox": (403, None),
    **{f"{code}-accepted": (code, None) for code in (500, 502, 503, 504)},
}
"""By fault: the status that Anymail reports, and a further class of its exception."""
ACCEPTED = {kind for kind in SEEN if KINDS[kind].accepts}


def send(simulator: Simulator, to: str, patience: float = PATIENCE) -> AnymailRequestsAPIError | None:
    """Send a mail by Anymail's backend; returns its exception."""
    calls = simulator.account("m1")["calls"]
    mail: Any = make_mail(simulator, to, requests_timeout=patience)
    mail.metadata = {"message_id": "m1", "attempt_id": "a1"}
    try:
        mail.send()
    except AnymailRequestsAPIError as error:
        # A client that gives up soon may do so before the simulator has read the request.
        eventually(lambda: simulator.account("m1")["calls"] > calls, PATIENCE, "the call being counted")
        return error
    return None


def patience_with(kind: str) -> float:
    return HASTE if kind.startswith("timeout") else PATIENCE


@pytest.mark.parametrize("kind", SEEN)
def test_a_fault_hits_once_and_counts_what_it_accepted(simulator: Simulator, kind: str) -> None:
    simulator.fault(kind)
    error = send(simulator, "ada@example.org", patience_with(kind))
    status, also = SEEN[kind]
    assert error is not None
    assert error.status_code == status
    assert also is None or isinstance(error, also)
    accepted = int(kind in ACCEPTED)
    account = {"calls": 1, "accepted": accepted, "attempts": {"a1": 1} if accepted else {}}
    eventually(lambda: simulator.account("m1") == account, PATIENCE, f"the account being {account}")
    assert send(simulator, "ada@example.org") is None
    assert simulator.accepted("m1") == 1 + int(kind in ACCEPTED)


@pytest.mark.parametrize("kind", SEEN)
def test_a_recipients_name_asks_for_a_fault(simulator: Simulator, kind: str) -> None:
    patience = patience_with(kind)
    for _ in range(2):
        assert send(simulator, f"{kind}+7@example.org", patience) is not None
    assert send(simulator, f"{kind}-once@example.org", patience) is not None
    assert send(simulator, f"{kind}-once@example.org") is None
    assert send(simulator, f"{kind}-once-2@example.org", patience) is not None
    count = 1 + (4 if kind in ACCEPTED else 0)
    eventually(lambda: simulator.accepted("m1") == count, PATIENCE, f"{count} mails being accepted")


def test_a_tag_names_a_fault_of_the_call_beside_the_outcome(simulator: Simulator, receiver: WebhookReceiver) -> None:
    to = "bounce+503-accepted-once+doubled+7@example.org"
    error = send(simulator, to)
    assert error is not None
    assert error.status_code == 503
    bounced, bounced_again = receiver.wait_for(to, 2)
    assert bounced == bounced_again
    assert bounced["event-data"]["delivery-status"]["code"] == 550
    assert send(simulator, to) is None


def test_a_tag_loses_the_webhooks_of_an_outcome(simulator: Simulator, receiver: WebhookReceiver) -> None:
    post(simulator, {"to": "bounce+lost@example.org"})
    post(simulator, {"to": "bounce@example.org"})
    receiver.wait_for("bounce@example.org", 1)
    eventually(lambda: get(simulator, "events", event="failed").json()["items"][1:], PATIENCE, "both bounces")
    assert receiver.about("bounce+lost@example.org") == []


def test_the_configuration_says_how_long_a_client_is_asked_to_wait(simulator: Simulator) -> None:
    simulator.configure(wait=2)
    error = send(simulator, "429@example.org")
    assert error is not None
    assert error.response.headers["Retry-After"] == "2"


def test_what_is_accepted_without_an_answer_is_delivered(simulator: Simulator, receiver: WebhookReceiver) -> None:
    send(simulator, "timeout-after@example.org", HASTE)
    send(simulator, "500-accepted@example.org")
    send(simulator, "drop@example.org")
    for local in ("timeout-after", "500-accepted", "drop"):
        [webhook] = receiver.wait_for(f"{local}@example.org", 1)
        assert webhook["event-data"]["event"] == "delivered"


def test_too_many_requests_say_until_when(simulator: Simulator) -> None:
    simulator.fault("429", seconds=90)
    before = time.time()
    error = send(simulator, "ada@example.org")
    assert error is not None
    assert before + 89 <= int(error.response.headers["X-RateLimit-Reset"]) <= time.time() + 90


def test_a_fault_hits_as_many_calls_as_it_says(simulator: Simulator) -> None:
    simulator.fault("500", times=2, recipient="Ada")
    number = simulator.fault("503", times=None, recipient="bob@example.org")
    assert [post(simulator).status_code for _ in range(3)] == [500, 500, 200]
    assert [post(simulator, {"to": "bob@example.org"}).status_code for _ in range(3)] == [503] * 3
    assert [fault["id"] for fault in simulator.get("faults")] == [number]
    simulator.ask("DELETE", f"faults/{number}")
    assert post(simulator, {"to": "bob@example.org"}).ok
    simulator.fault("500", times=None)
    simulator.ask("DELETE", "faults")
    assert post(simulator).ok


@pytest.mark.parametrize(("api", "path"), [("events", "events"), ("suppressions", "bounces")])
def test_the_other_apis_have_faults_too(simulator: Simulator, api: str, path: str) -> None:
    simulator.fault("503", on=api)
    assert post(simulator).ok
    assert get(simulator, path).status_code == 503
    assert get(simulator, path).ok
    simulator.fault("truncated", on=api)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(simulator, path)


def test_nobody_can_connect_during_a_refusal() -> None:
    with Simulator() as simulator, requests.Session() as session:
        session.auth = ("api", API_KEY)
        url = f"{simulator.api_url}/{DOMAIN}/events"
        assert session.get(url, timeout=PATIENCE).ok
        simulator.refuse(3600)
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", simulator.port), timeout=PATIENCE)


def test_a_refusal_closes_open_connections_and_ends_by_itself(simulator: Simulator) -> None:
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=PATIENCE) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        simulator.refuse(0.2)
        assert connection.recv(4096) == b""
    eventually(lambda: answers(simulator), PATIENCE, "the door opening again")


def test_a_request_that_was_never_finished_is_not_accepted(simulator: Simulator) -> None:
    head = f"POST /v3/{DOMAIN}/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nto=ada"
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
    assert post(simulator).ok
    assert len(simulator.messages()) == 1


def test_a_mail_is_accepted_in_the_middle_of_the_wait_for_its_answer(simulator: Simulator) -> None:
    simulator.configure(latency=1)
    assert send(simulator, "ada@example.org") is None
    answered = time.time()
    [mail] = simulator.messages()
    [accepted] = get(simulator, "events", event="accepted").json()["items"]
    assert accepted["timestamp"] - mail["at"] > 0.45
    assert answered - accepted["timestamp"] > 0.45


def test_a_client_that_gives_up_has_sent_a_mail(simulator: Simulator, receiver: WebhookReceiver) -> None:
    simulator.configure(latency=1)
    form, key = urlencode(FORM).encode(), base64.b64encode(":".join(AUTH).encode()).decode()
    head = f"POST /v3/{DOMAIN}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {key}\r\n"
    head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + form)
    receiver.wait_for("ada@example.org", 1)
    assert len(simulator.messages()) == 1


def test_clearing_resets_the_simulator(simulator: Simulator, receiver: WebhookReceiver) -> None:
    post(simulator, {"to": "bounce@example.org", "v:message_id": "m1"})
    eventually(simulator.webhooks, PATIENCE, "the try being noted")
    simulator.configure(latency=1)
    simulator.fault("500", times=None)
    simulator.clear()
    state = simulator.get("")
    assert (state["calls"], state["accepted"], state["events"], state["messages"]) == (0, 0, 0, 0)
    assert state["config"]["latency"] == 0
    assert simulator.get("faults") == []
    assert simulator.get("webhooks") == []


@pytest.mark.parametrize(
    ("method", "path", "wishes"),
    [
        ("POST", "faults", {}),
        ("POST", "faults", {"kind": "no such"}),
        ("POST", "faults", {"kind": "500", "times": 0}),
        ("POST", "faults", {"kind": "500", "on": "everything"}),
        ("POST", "faults", {"kind": "500", "colour": "red"}),
        ("POST", "faults", {"kind": "500", "id": 3}),
        ("POST", "faults", {"kind": "429", "seconds": -1}),
        ("PATCH", "config", {"latency": "long"}),
        ("PATCH", "config", {"latency": -1}),
        ("PATCH", "config", {"latency": True}),
        ("PATCH", "config", {"colour": "red"}),
        ("POST", "refusal", {"seconds": 0}),
        ("POST", "refusal", []),
    ],
)
def test_an_invalid_request_to_the_control_api_is_refused(
    simulator: Simulator, method: str, path: str, wishes: object
) -> None:
    # json.dumps() may write Infinity, which is not JSON and must do no harm either.
    body, headers = json.dumps(wishes), {"Content-Type": "application/json"}
    answer = requests.request(method, f"{simulator.url}/simulator/{path}", data=body, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 400
    assert answer.json()["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["kind", "times", "recipient", "on", "seconds", "latency", "index_delay", "hold", "event"])
wishes = st.dictionaries(names, json_values | st.sampled_from(sorted(KINDS)), max_size=4) | json_values
paths = st.sampled_from(["faults", "config", "messages/x/events", "faults/x", "", "accepted/%00", "nothing"])


@settings(max_examples=150)
@given(method=st.sampled_from(["POST", "PATCH", "DELETE", "GET"]), path=paths, wishes=wishes)
def test_no_request_to_the_control_api_makes_the_simulator_fail(
    simulator: Simulator, method: str, path: str, wishes: object
) -> None:
    # json.dumps() may write Infinity, which is not JSON and must do no harm either.
    body, headers = json.dumps(wishes), {"Content-Type": "application/json"}
    answer = requests.request(method, f"{simulator.url}/simulator/{path}", data=body, headers=headers, timeout=PATIENCE)
    assert answer.status_code < 500


@settings(max_examples=100)
@given(body=st.binary(max_size=200), kind=st.sampled_from(["multipart/form-data; boundary=x", "x/y", "multipart/x"]))
def test_no_form_makes_the_simulator_fail(simulator: Simulator, body: bytes, kind: str) -> None:
    answer = requests.post(
        f"{simulator.api_url}/{DOMAIN}/messages",
        b"--x\r\n" + body,
        headers={"Content-Type": kind},
        auth=("api", API_KEY),
        timeout=PATIENCE,
    )
    assert answer.status_code == 400


@settings(max_examples=100)
@given(
    form=st.fixed_dictionaries({}, optional={n: st.text() for n in ("to", "from", "subject", "v:a", "h:B", "o:tag")})
)
def test_whatever_a_form_says_is_accepted_or_refused(simulator: Simulator, form: dict[str, str]) -> None:
    assert post(simulator, form).status_code in (200, 400)
    assert requests.get(simulator.url, timeout=PATIENCE).ok
    assert get(simulator, "events").ok


def test_the_config_shows_every_setting(simulator: Simulator) -> None:
    assert simulator.get("config").keys() == Config.__dataclass_fields__.keys()


def test_a_setting_takes_whole_numbers_and_fractions_in_turn(simulator: Simulator) -> None:
    for seconds in (3600, 0.5, 1):
        simulator.configure(index_delay=seconds)
        assert simulator.get("config")["index_delay"] == seconds


def answers(simulator: Simulator) -> bool:
    try:
        return requests.get(simulator.url, timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False
