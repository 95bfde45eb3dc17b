"""The simulator's pages: what they show, that they show it safely, and what their buttons do."""

import re
from html.parser import HTMLParser

import pytest
import requests

from demo.eventually import eventually
from tests.support.mail.simulator_client import PATIENCE, get, post
from tests.support.servers.simulator import Simulator
from tests.support.servers.webhook_receiver import WebhookReceiver

pytest_plugins = ["tests.support.mail.simulator_fixtures"]

EVIL = "\"'><script>alert(1)</script>"


def page(simulator: Simulator, path: str = "/") -> requests.Response:
    return requests.get(f"{simulator.url}{path}", timeout=PATIENCE)


def path_of(answer: requests.Response) -> str:
    return f"/messages/{answer.json()['id'].strip('<>')}"


def test_the_newest_mail_comes_first(simulator: Simulator, receiver: WebhookReceiver) -> None:
    assert "Nothing has been sent yet" in page(simulator).text
    post(simulator, {"subject": "The first"})
    post(simulator, {"subject": "The second", "to": "bounce@example.org"})
    receiver.wait_for("bounce@example.org", 1)
    html = page(simulator).text
    assert html.index("The second") < html.index("The first")
    assert 'class="pill bounced"' in html


def test_mails_are_found_by_subject_and_address_and_paged(simulator: Simulator) -> None:
    for number in range(55):
        post(simulator, {"subject": f"No. {number:02}.", "to": f"a{number:02}@example.org"})
    assert len(re.findall(r"No\. \d\d\.", page(simulator).text)) == 50
    assert re.findall(r"No\. \d\d\.", page(simulator, "/?page=1").text) == [f"No. {n:02}." for n in (4, 3, 2, 1, 0)]
    assert re.findall(r"No\. \d\d\.", page(simulator, "/?q=NO.%2017").text) == ["No. 17."]
    assert re.findall(r"No\. \d\d\.", page(simulator, "/?q=a33@").text) == ["No. 33."]
    assert "Nothing here matches" in page(simulator, "/?q=%3Cb%3E").text


@pytest.mark.parametrize("query", ["page=-1", "page=x", "page=99999999999999999999", "page=%C2%B2", "q=%00%FF"])
def test_odd_parameters_get_a_page(simulator: Simulator, query: str) -> None:
    assert page(simulator, f"/?{query}").ok


def test_a_mail_is_shown_with_all_that_belongs_to_it(simulator: Simulator, receiver: WebhookReceiver) -> None:
    form = {"to": "Grace <open@example.org>", "html": "<p>Hi</p>", "v:attempt_id": "a1", "h:Reply-To": "b@example.org"}
    path = path_of(post(simulator, {**form, "o:tag": "orders"}, files=[("attachment", ("plan.pdf", b"12345"))]))
    receiver.wait_for("open@example.org", 2)
    eventually(lambda: len(simulator.webhooks()) == 2, PATIENCE, "both tries being noted")
    html = page(simulator, path).text
    for text in ("Grace &lt;open@example.org&gt;", "orders", "plan.pdf", "a1", "b@example.org", "opened", ">200<"):
        assert text in html
    frame = page(simulator, f"{path}/html")
    assert frame.text == "<p>Hi</p>"
    assert frame.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


def test_nothing_that_was_sent_becomes_part_of_a_page(simulator: Simulator, receiver: WebhookReceiver) -> None:
    name = EVIL.replace('"', "").replace("'", "")
    form = {"subject": EVIL, "text": EVIL, "html": EVIL, "o:tag": EVIL, "v:" + EVIL: EVIL, "h:X": EVIL}
    files = [("attachment", (name, b"x", "text/html"))]
    path = path_of(post(simulator, {**form, "to": f'"{name}" <vanish@example.org>'}, files=files))
    for shown in (page(simulator), page(simulator, path), page(simulator, f"/?q={EVIL}")):
        assert "<script" not in shown.text
        assert "script-src" not in shown.headers["Content-Security-Policy"]
        assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert Frames.of(page(simulator, path).text) == [{"sandbox": None, "src": f"{path}/html"}]
    download = page(simulator, f"{path}/files/0")
    assert download.headers["Content-Type"] == "application/octet-stream"
    assert download.headers["Content-Disposition"].startswith("attachment;")
    assert download.headers["X-Content-Type-Options"] == "nosniff"


def test_inline_images_are_shown(simulator: Simulator) -> None:
    files = [("inline", ("dot.png", b"\x89PNG", "image/png")), ("inline", ("bad.png", b"x", "text/html"))]
    path = path_of(post(simulator, {"html": '<img src="cid:dot.png"><img src="cid:bad.png">'}, files=files))
    assert page(simulator, f"{path}/html").text == '<img src="data:image/png;base64,iVBORw=="><img src="cid:bad.png">'


def test_a_button_sends_one_more_webhook(simulator: Simulator, receiver: WebhookReceiver) -> None:
    path = path_of(post(simulator, {"to": ["vanish@example.org", "vanish-2@example.org"]}))
    form = {"event": "complained", "recipient": "vanish-2@example.org"}
    answer = requests.post(f"{simulator.url}{path}/events", form, timeout=PATIENCE)
    assert answer.url == f"{simulator.url}{path}"
    assert 'class="pill complained"' in answer.text
    [webhook] = receiver.wait_for("vanish-2@example.org", 1)
    assert webhook["event-data"]["event"] == "complained"
    assert requests.post(f"{simulator.url}{path}/events", {"event": "eaten"}, timeout=PATIENCE).status_code == 400


def test_a_webhook_can_be_requested_for_each_recipient(simulator: Simulator) -> None:
    path = path_of(post(simulator, {"to": ["ada@example.org", "vanish@example.org"]}))
    assert re.findall(r"<option>(.*?)</option>", page(simulator, path).text) == [
        "ada@example.org",
        "vanish@example.org",
    ]


def test_another_sites_page_can_change_nothing(simulator: Simulator) -> None:
    post(simulator)
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert requests.post(f"{simulator.url}/clear", headers=headers, timeout=PATIENCE).status_code == 403
    assert len(simulator.messages()) == 1


def test_looking_changes_nothing(simulator: Simulator, receiver: WebhookReceiver) -> None:
    path = path_of(post(simulator))
    receiver.wait_for("ada@example.org", 1)
    before = simulator.get("")
    for look in ("/", path, f"{path}/html", "/simulator.css", "/clear", f"{path}/events", "/simulator/accepted/new"):
        page(simulator, look)
        requests.head(f"{simulator.url}{look}", timeout=PATIENCE)
    assert simulator.get("") == before
    assert get(simulator, "events").json()["items"]
    assert "new" not in simulator.get("accepted")["messages"]


@pytest.mark.parametrize("path", ["/messages/x", "/messages/x/html", "/messages/x/files/0", "/nothing"])
def test_what_is_not_there_is_not_found(simulator: Simulator, path: str) -> None:
    assert page(simulator, path).status_code == 404


def test_starting_afresh_empties_the_inbox(simulator: Simulator) -> None:
    post(simulator)
    assert "Nothing has been sent yet" in requests.post(f"{simulator.url}/clear", timeout=PATIENCE).text


class Frames(HTMLParser):
    """The attributes of the frames of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    @classmethod
    def of(cls, html: str) -> list[dict[str, str | None]]:
        parser = cls()
        parser.feed(html)
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "iframe":
            self.found.append({name: value for name, value in attrs if name != "title"})
