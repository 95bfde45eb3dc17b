"""Requests of legal size, each the most expensive of its sort: what each costs a web process, and its neighbours.

The CPU time of the process is measured, and not the time that passes: the machine may be busy. It is compared with
that of a fixed piece of work in the same run: the machine may be slow.
"""

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.support import fixed_work
from tests.support.stack import Stack

CPU = 20
"""Times the fixed piece of work: about a second."""
MEMORY = 100 * 1024 * 1024
"""Bytes that the process may grow by."""
GET_WITHIN = 0.2
"""Seconds that the 95th percentile of a second client's GETs may take, plus SLACK times what it takes without load."""
SLACK = 5
ALONE = 100
"""GETs without load, before and afterwards."""
MIB = 1024 * 1024
API = "/api/v1/"
MESSAGE = {"to": "ada@example.org", "subject": "Hi", "text": "There"}
COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 0}}
TICK = 100
"""Of /proc/pid/stat: clock ticks a second."""


@dataclass(frozen=True)
class Case:
    """One request. anonymous: without a token."""

    name: str
    method: str
    path: str
    body: bytes = b""
    anonymous: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def post(name: str, path: str, body: Any, **more: Any) -> Case:
    return Case(name, "POST", API + path, body if isinstance(body, bytes) else json.dumps(body).encode(), **more)


def get(name: str, path: str, **more: Any) -> Case:
    return Case(name, "GET", API + path, **more)


def template_variables(count: int, start: int = 0) -> str:
    return "".join(f"{{{{ v{number} }}}}" for number in range(start, start + count))


def form(file: bytes) -> bytes:
    parts = b'--x\r\nContent-Disposition: form-data; name="template"\r\n\r\nhello\r\n'
    parts += b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n' + file + b"\r\n--x--\r\n"
    return parts


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
MANY = 2_000_001


def from_the_issue() -> Iterator[Case]:
    texts = [template_variables(3900, start=number) for number in range(2)]
    batch = {"messages": [MESSAGE | {"text": texts[number % 2], "context": {}} for number in range(200)]}
    yield post("a batch of 200 messages of 3,900 variables each", "mail/messages/batch/", batch)
    different = [MESSAGE | {"text": template_variables(400, start=number)} for number in range(500)]
    yield post("a batch of 500 different templates", "mail/messages/batch/", {"messages": different})
    yield post("reply_to of 2,000,001 items", "mail/messages/", b'{"reply_to": [' + b'"a",' * MANY + b'"a"]}')
    yield post("reply_to of 200,000 items", "mail/messages/", MESSAGE | {"reply_to": ["a"] * 200_000})
    unknown = json.dumps({f"key{number}": 1 for number in range(105_000)}).encode()
    yield post("tokens/ with 105,000 unknown keys", "tokens/", unknown, anonymous=True)
    yield post("tokens/ with 5,000 unknown keys", "tokens/", {f"k{n}": 1 for n in range(5000)}, anonymous=True)
    yield get("a suppression of 21,500 spaces", "mail/suppressions/" + "%20" * 21_500 + "x/")
    yield get("a suppression of 2,500 spaces", "mail/suppressions/" + "%20" * 2500 + "x/")
    yield post("10 MiB without credentials", "mail/messages/", b"x" * 10 * MIB, anonymous=True)
    yield Case("a 1 MiB body to nowhere", "POST", API + "nothing/", b"x" * MIB)


POSTS = {
    "jobs/": COUNTDOWN,
    "jobs/batch/": {"jobs": [COUNTDOWN]},
    "mail/messages/": MESSAGE,
    "mail/messages/batch/": {"messages": [MESSAGE]},
    "mail/broadcasts/": {"template": "hello", "recipients": [{"to": "ada@example.org"}]},
    "mail/templates/": {"name": "a", "subject": "Hi", "text": "There"},
    "mail/suppressions/": {"address": "ada@example.org"},
    "mail/templates/hello/preview/": {"context": {}},
    "tokens/": {"username": "nobody", "password": "wrong"},
    "session/": {"username": "nobody", "password": "wrong"},
}


def every_endpoint() -> Iterator[Case]:
    for path, good in POSTS.items():
        yield post(f"{path}: 1 MiB of nested lists", path, b"[" * (MIB // 2) + b"]" * (MIB // 2))
        yield post(f"{path}: 1 MiB of empty objects", path, b"[" + b"{}," * (MIB // 3 - 1) + b"{}]")
        yield post(f"{path}: 90 levels deep", path, good | {"more": json.loads("[" * 90 + "]" * 90)})
        yield post(f"{path}: 40,000 unknown keys", path, good | {f"k{number}": number for number in range(40_000)})
        first = next(iter(good))
        yield post(f"{path}: {first} of 900,000 characters", path, good | {first: "x" * 900_000})
        yield post(f"{path}: {first} of 200,000 numbers", path, good | {first: [0] * 200_000})
        yield post(f"{path}: one key of 900,000 characters", path, {"k" * 900_000: 1})


def lists_and_texts() -> Iterator[Case]:
    yield post("500 bad jobs with many errors", "jobs/batch/", {"jobs": [{f"k{n}": 1 for n in range(20)}] * 500})
    yield post("500 jobs that are numbers", "jobs/batch/", {"jobs": [1] * 500})
    yield post("params of 40,000 keys", "jobs/", COUNTDOWN | {"params": {f"k{n}": n for n in range(40_000)}})
    yield post("a kind of 900,000 spaces", "jobs/", COUNTDOWN | {"kind": " " * 900_000})
    yield post("a time of 900,000 digits", "jobs/", COUNTDOWN | {"run_at": "1" * 900_000})
    http = {"url": "https://example.org/"}
    yield post(
        "http.request: 40,000 headers",
        "jobs/",
        {"kind": "http.request", "params": http | {"headers": {f"h{n}": "v" for n in range(40_000)}}},
    )
    yield post(
        "http.request: expect of 200,000",
        "jobs/",
        {"kind": "http.request", "params": http | {"expect": [200] * 200_000}},
    )
    yield post("10,000 bad recipients", "mail/broadcasts/", {"template": "hello", "recipients": [{"x": 1}] * 10_000})
    yield post(
        "10,000 recipients of 5 variables",
        "mail/broadcasts/",
        {
            "template": "hello",
            "recipients": [
                {"to": f"a{n}@example.org", "context": {f"v{v}": "x" for v in range(5)}} for n in range(10_000)
            ],
        },
    )
    yield post(
        "a CSV of 100,000 rows", "mail/broadcasts/", form(b"to\r\n" + b"a@example.org\r\n" * 100_000), headers=FORM
    )
    yield post("a CSV of one row of 9 MiB", "mail/broadcasts/", form(b"to\r\n" + b"a," * (4 * MIB)), headers=FORM)
    yield post("a CSV of quotes", "mail/broadcasts/", form(b"to\r\n" + b'"' * (4 * MIB)), headers=FORM)
    yield post(
        "900 form fields",
        "mail/broadcasts/",
        b"".join(b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(900))
        + b"--x--\r\n",
        headers=FORM,
    )
    yield post("300,000 parts of a form", "mail/broadcasts/", b"--x\r\n\r\n\r\n" * 300_000, headers=FORM)
    yield post("a text of 9 MiB", "mail/messages/", MESSAGE | {"text": "x" * 9 * MIB})
    yield post("a context of 9 MiB", "mail/messages/", MESSAGE | {"context": {"a": "x" * 9 * MIB}})
    yield post(
        "headers of 40,000 names", "mail/messages/", MESSAGE | {"headers": {f"X-{n}": "v" for n in range(40_000)}}
    )
    yield post(
        "metadata of 1,000 bad names", "mail/messages/", MESSAGE | {"metadata": {f"a b{n}": "v" for n in range(1000)}}
    )
    yield post("a subject of 900,000 line breaks", "mail/messages/", MESSAGE | {"subject": "\n" * 900_000})
    file = {"filename": "a", "content": ""}
    yield post("200 attachments", "mail/messages/", MESSAGE | {"attachments": [file] * 200})
    yield post("attachments of 9 MiB", "mail/messages/", MESSAGE | {"attachments": [file | {"content": "A" * 9 * MIB}]})
    worst = "a/b" + "; a=b" * 50 + ";"
    yield post(
        "a media type without end", "mail/messages/", MESSAGE | {"attachments": [file | {"content_type": worst}]}
    )
    for name, text in WORST_ADDRESSES.items():
        yield post(f"to: {name}", "mail/messages/", MESSAGE | {"to": text})
        yield post(f"500 times to: {name}", "mail/messages/batch/", {"messages": [MESSAGE | {"to": text[:500]}] * 500})


WORST_ADDRESSES = {
    "spaces": " " * 100_000 + "x",
    "quotes": '"' + '\\"' * 50_000,
    "at signs": "@" * 100_000,
    "dots": "a." * 50_000 + "@example.org",
    "brackets": "<" * 100_000,
    "letters of many alphabets": "\u0130" * 480 + "@example.org",
}
TEMPLATES = {
    "a million braces": "{{" * 500_000,
    "unclosed tags": "{% " * 5000,
    "20,000 variables": template_variables(6000) * 2,
    "deep blocks": "{% if a %}" * 5000 + "{% endif %}" * 5000,
    "nested loops": "{% for x in a %}" * 8 + "{{ x }}" + "{% endfor %}" * 8,
    "a million lines": "\n" * 1_000_000 + "{{ a }}",
    "long filters": "{{ a" + "|upper" * 10_000 + " }}",
    "cut": "{{ a|cut:'x' }}" * 2000,
    "comments": "{# x #}" * 19_000,
    "verbatim": "{% verbatim %}" + "{{" * 9000 + "{% endverbatim %}",
    "wordwrap": "{{ a|wordwrap:1 }}" * 500,
    "urlencode": "{{ a|urlencode|urlencode|urlencode|urlencode|urlencode|urlencode }}",
    "arithmetic": "{{ 1|add:9999999999999999999999999999 }}" * 2000,
    "floatformat": "{{ 1e308|floatformat:100 }}" * 2000,
}


def templates() -> Iterator[Case]:
    for name, source in TEMPLATES.items():
        context = {"a": ["x"] * 100} if "loop" in name else {"a": "x " * 100_000}
        yield post(f"template: {name}", "mail/messages/", MESSAGE | {"text": source, "context": context})
        yield Case(
            f"stored template: {name}",
            "PUT",
            f"{API}mail/templates/hostile/",
            json.dumps({"subject": "Hi", "text": source}).encode(),
        )


def queries() -> Iterator[Case]:
    for path in ("jobs/", "mail/messages/", "mail/suppressions/", "tokens/", "mail/templates/"):
        yield get(f"{path}: 2,000 parameters", f"{path}?" + "&".join(f"p{number}=1" for number in range(1000)))
        yield get(f"{path}: a cursor of 7,000 characters", f"{path}?cursor=" + "A" * 7000)
        yield get(f"{path}: a page size of 7,000 digits", f"{path}?page_size=" + "9" * 7000)
    yield get("1,500 statuses", "jobs/?" + "&".join(["status=x"] * 800))
    yield get("a time of 7,000 digits", "jobs/?created_after=" + "1" * 7000)
    yield get("a tag of 7,000 characters", "mail/messages/?tag=" + "x" * 7000)
    yield get("an address of 7,000 spaces", "mail/messages/?to=" + "+" * 7000)
    yield get("a path of 60,000 characters", "x" * 60_000)
    yield get("the schema", "schema/")
    yield get("the kinds", "job-kinds/")
    long = {"Idempotency-Key": '"' + "\\\\" * 15_000}
    yield post("an Idempotency-Key of 30,000 characters", "jobs/", COUNTDOWN, headers=long)
    yield get("an If-None-Match of 30,000 tags", "job-kinds/", headers={"If-None-Match": '"a",' * 7500})
    yield get("a cookie of 30,000 characters", "session/", headers={"Cookie": "sessionid=" + "\\" * 30_000})
    yield get("2,000 cookies", "session/", headers={"Cookie": "; ".join(f"c{n}=1" for n in range(2000))})
    yield get(
        "an Authorization of 30,000 characters",
        "jobs/",
        anonymous=True,
        headers={"Authorization": "Token " + "x" * 30_000},
    )
    yield get(
        "Basic of 30,000 characters", "tokens/", anonymous=True, headers={"Authorization": "Basic " + "QQ" * 15_000}
    )
    yield get("an X-Forwarded-For of 30,000 characters", "jobs/", headers={"X-Forwarded-For": "1," * 15_000})
    yield get("an Accept of 30,000 characters", "jobs/", headers={"Accept": "a/b;q=0.1," * 3000})
    yield get("an X-Request-ID of 30,000 characters", "jobs/", headers={"X-Request-ID": "x" * 30_000})
    webhook = {
        "signature": {"timestamp": "1" * 100_000, "token": "x", "signature": "x"},
        "event-data": {"k": "v" * 500_000},
    }
    yield Case("a forged webhook", "POST", "/webhooks/mailgun/tracking/", json.dumps(webhook).encode(), anonymous=True)
    yield Case("an unsubscribe link of 7,000 characters", "GET", "/unsubscribe/" + "a" * 7000 + "/", anonymous=True)


def every_case() -> list[Case]:
    """All cases, a hundred megabytes: made by the test, and not in each process that imports this module."""
    return [*from_the_issue(), *every_endpoint(), *lists_and_texts(), *templates(), *queries()]


@dataclass
class Neighbour:
    """A second client that asks for something small all the time."""

    url: str
    token: str
    waits: list[float] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def ask(self, most: int = 1_000_000) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Token {self.token}"
            while len(self.waits) < most and not self.done.wait(0.02):
                began = time.monotonic()
                assert session.get(f"{self.url}{API}session/", timeout=120).ok
                self.waits.append(time.monotonic() - began)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """The neighbour sends requests during the body."""
        thread = threading.Thread(target=self.ask)
        thread.start()
        try:
            yield
        finally:
            self.done.set()
            thread.join()

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.waits, n=20)[-1]


class Meter:
    """What the web process has used (proc(5))."""

    def __init__(self, pid: int) -> None:
        self.folder = Path(f"/proc/{pid}")

    def cpu(self) -> float:
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self) -> int:
        return self._status("VmRSS:")

    def peak(self) -> int:
        """Since reset()."""
        return self._status("VmHWM:")

    def reset(self) -> None:
        (self.folder / "clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def test_no_request_costs_more_than_it_may(sqlite_stack: Stack) -> None:
    cases = every_case()
    assert len(cases) > 60
    meter, token = Meter(sqlite_stack.web.pid), sqlite_stack.client("hostile").token
    before, beside, after = (Neighbour(sqlite_stack.url, sqlite_stack.client("neighbour").token) for _ in range(3))
    create(sqlite_stack, token)
    unit = fixed_work.cpu_seconds()
    before.ask(ALONE)
    with beside.asking():
        rows = [(case.name, *cost(case, sqlite_stack.url, token, meter)) for case in cases]
    after.ask(ALONE)
    unit = max(unit, fixed_work.cpu_seconds())
    alone = max(before.p95, after.p95)
    for name, status, seconds, grown in sorted(rows, key=lambda row: -row[2]):
        print(f"{status}  {seconds:5.2f} s  {grown / MIB:6.1f} MiB  {name}")  # noqa: T201
    waited = f"p95 {1000 * beside.p95:.0f} ms, without them {1000 * alone:.0f} ms"
    print(f"{len(rows)} requests, unit {unit:.3f} s; {len(beside.waits)} GETs beside them: {waited}")  # noqa: T201
    assert [row for row in rows if row[1] == 431 or (row[1] >= 500 and row[1] != 503)] == []
    assert [row for row in rows if row[2] > CPU * unit] == []
    assert [row for row in rows if row[3] > MEMORY] == []
    assert beside.p95 < GET_WITHIN + SLACK * alone


def create(stack: Stack, token: str) -> None:
    """The template that some of the requests name."""
    content = {"subject": "Hi {{ v0 }}", "text": "There {{ unsubscribe_url }}"}
    url = f"{stack.url}{API}mail/templates/hello/"
    assert requests.put(url, json=content, headers={"Authorization": f"Token {token}"}, timeout=60).ok


def cost(case: Case, url: str, token: str, meter: Meter) -> tuple[int, float, int]:
    """Status (0: the connection was closed), CPU seconds of the web process, and bytes that it grew by at most."""
    headers = {"Content-Type": "application/json"} | ({} if case.anonymous else {"Authorization": f"Token {token}"})
    request = requests.Request(case.method, url, data=case.body, headers=headers | case.headers).prepare()
    request.url = url + case.path
    meter.reset()
    before, memory = meter.cpu(), meter.memory()
    try:
        with requests.Session() as session:
            status = session.send(request, timeout=120).status_code
    except requests.ConnectionError:
        status = 0
    return status, meter.cpu() - before, max(0, meter.peak() - memory)
