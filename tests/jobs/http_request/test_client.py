"""http.request's calls over real sockets: servers on the loopback, and a fake internet that leads to them."""

import gzip
import json
import socket
import ssl
import subprocess
import time
import tracemalloc
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from threading import Event, Timer
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.http_request import client
from jobs.http_request.client import MAX_BODY, METHODS, call
from jobs.http_request.errors import Refused, Unreachable
from tests.support.servers.web import make_raw_server, make_server
from tests.support.timeouts import PATIENCE

OK, PUBLIC, PUBLIC_IPV6, NAT64 = b"HTTP/1.1 200 OK\r\n", "93.1.1.1", "2606:4700::1", "64:ff9b::101:101"

CLOSED_HOSTS = """
127.0.0.1 127.0.0.1. 127.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 127.0.0.1:8080 0 0.0.0.0 10.0.0.1 172.31.255.255
192.168.1.1 169.254.169.254 100.64.0.1 100.100.100.200 192.0.0.192 168.63.129.16 192.0.2.1 192.88.99.1 198.18.0.1
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 [::1] [0:0:0:0:0:0:0:1] [::] [::1]:8080
[::ffff:127.0.0.1] [::FFFF:7F00:1] [::ffff:169.254.169.254] [::ffff:0:127.0.0.1] [::127.0.0.1] [64:ff9b::127.0.0.1]
[64:ff9b:1::7f00:1] [2002:7f00:1::] [2001:0:4136:e378::fdd2] [2001:db8::1] [fe80::1] [fec0::1] [fc00::1] [ff02::1]
[fd00:ec2::254] [100::1] [3fff::1] %31%32%37.0.0.1 127\u30020\u30020\u30021 \uff11\uff12\uff17.0.0.1 \u2461.\u24ea.1
user:secret@example.com user@example.com example.com:0 example.com:65536 example.com:http a..example exa%00mple.com
[::1 [not-an-address] [fe80::1%25eth0] [fe80::1%eth0] \ud800 :80 . example.com\\@127.0.0.1"""
BAD_URLS = ["", "/path", "//a.example/", "http:", "http:///path", "ftp://a.example/", "file:///etc/passwd"]
BAD_URLS += ["http://a.example\r\nX-B: 1/", "http://a.example/\r\nX-B: 1", "http://a.example/\0", " http://a.example"]
BAD_URLS += [f"http://{host}/" for host in CLOSED_HOSTS.split()]
CLOSED_IPV4 = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/3"
SPELLINGS = ["{0}", "{0}.", "{1}", "{1:#x}", "0{1:o}", "[::ffff:{0}]", "[64:ff9b::{0}]", "[2002:{2:x}:{3:x}::1]"]
NAMES = ["Host", "HOST", "Content-Length", "Transfer-Encoding", "Connection", "", "A\r\nB", "A:", " Host", "TE "]
VALUES = ["1\r\nX-B: 2", "1\nX-B: 2", "1\r", "1\n", "\0", "\u010a"]
BAD_PARTS = [("GET", name, "x") for name in NAMES] + [("GET", "X-A", value) for value in VALUES]
BAD_PARTS += [(method, "X-A", "x") for method in ("CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\n", "")]
# The charset that is claimed, the bytes, and the text they become.
TEXTS = """utf-8 c3a9 \u00e9 | ISO-8859-1 e9 \u00e9 | "utf-16-le";x=y e900 \u00e9 | utf-8 61e962 a\ufffdb | no-such 61 a
hex 3631 61 | idna 61e9 a\ufffd | utf-7 2b3241412d ? | utf-8 894e00 \ufffdN\ufffd""".replace("\n", " | ").split(" | ")
BROKEN = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\0\r\n",
    "a short body": OK + b"Content-Length: 10\r\n\r\nshort",
    "a bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bad gzip": OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "long headers": OK + (b"X-A: " + b"a" * 40_000 + b"\r\n") * 2 + b"\r\n",
}
DRIPS = {
    "nothing but 100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers": (OK, b"X: y\r\n"),
    "body": (OK + b"\r\n", b"x"),
    "body of known length": (OK + b"Content-Length: 1000\r\n\r\n", b"x"),
    "TLS handshake": (b"\x16\x03\x03\x40\x00", b"x"),
}


@pytest.fixture
def internet(monkeypatch):
    """`names`: what getaddrinfo answers, in turn; `ports`: the local port that stands behind a public address."""
    world = SimpleNamespace(names={}, ports={}, lookups=[], connections=[], timeouts=[])
    lookup, connect = socket.getaddrinfo, socket.socket.connect

    def getaddrinfo(host, port, *, type):
        world.lookups.append(host)
        answers = world.names.get(host, [[host]])
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [info for each in addresses for info in lookup(each, port, type=type, flags=socket.AI_NUMERICHOST)]

    def routed(sock, address):
        world.connections.append(address[0])
        world.timeouts.append(sock.gettimeout())
        behind = ("127.0.0.1", world.ports.get(address[0], 1))
        return connect(sock, address if ip_address(address[0]).is_loopback else behind)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", routed)
    return world


def make_call(url, method="GET", **kwargs):
    return call(method, url, **{"timeout": PATIENCE, "allowed_hosts": ["127.0.0.1"]} | kwargs)


def redirect(location, status=302):
    return lambda asked: (status, {"Location": location}, b"")


@contextmanager
def cut_off_after(seconds):
    started = time.monotonic()
    with pytest.raises(Unreachable, match=rf"within {seconds} s$|timed out$"):
        yield
    # Ten seconds for a machine that stands still: nothing here would end by itself before PATIENCE.
    assert seconds * 0.9 <= time.monotonic() - started < seconds + 10


@pytest.fixture
def over():
    """Set at the end of the test: servers that must not answer before wait for it."""
    yield (event := Event())
    event.set()


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_does_not_lead_to_a_public_address_is_refused(internet, url):
    with pytest.raises(Refused):
        make_call(url, allowed_hosts=())
    assert internet.connections == []


@pytest.mark.parametrize("addresses", [["127.0.0.1"], [PUBLIC, "10.0.0.7"], [PUBLIC, "fd00::7"], ["::ffff:10.0.0.7"]])
def test_a_name_is_refused_if_one_of_its_addresses_is_not_public(internet, addresses):
    internet.names["in.example"] = [addresses]
    others = ["example", "in.example:81", "a.in.example", "127.0.0.1", "10.0.0.7"]
    with pytest.raises(Refused, match=r"^http\.request may not call in\.example: its address is (loopback|private)$"):
        make_call("http://in.example/", allowed_hosts=others)
    assert internet.connections == []


def test_a_name_that_changes_its_address_is_called_at_the_address_that_was_checked(internet):
    internet.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    with make_server() as server:
        internet.ports[PUBLIC] = server.port
        assert make_call("http://rebind.example/").body == "hello"
    assert (internet.lookups, internet.connections) == (["rebind.example"], [PUBLIC])
    assert server.asked[0].headers["Host"] == "rebind.example"


@pytest.mark.parametrize("location", ["http://127.0.0.1/", "//169.254.169.254/", "http://[::1]:1", "http://[::1"])
def test_a_redirect_is_checked_as_the_first_url_was(internet, location):
    internet.names["public.example"] = [[PUBLIC]]
    with make_server(redirect(location)) as server:
        internet.ports[PUBLIC] = server.port
        with pytest.raises(Refused):
            make_call("http://public.example/", allowed_hosts=())
    assert internet.connections == [PUBLIC]


@pytest.mark.parametrize(("method", "name", "value"), BAD_PARTS)
def test_what_could_smuggle_another_request_is_refused(internet, method, name, value):
    with pytest.raises(Refused, match=r"header|method"):
        make_call("http://127.0.0.1/", method, headers={name: value})
    assert internet.connections == []


def inside(networks):
    choices = st.sampled_from([ip_network(network) for network in networks.split()])
    return choices.flatmap(lambda net: st.integers(0, net.num_addresses - 1).map(lambda offset: net[offset]))


@settings(max_examples=150)
@given(inside(CLOSED_IPV4), st.sampled_from(SPELLINGS))
def test_no_address_in_a_closed_network_is_called_whatever_its_spelling(address, spelling):
    host = spelling.format(address, int(address), int(address) >> 16, int(address) & 0xFFFF)
    with pytest.raises(Refused, match="its address is"):
        make_call(f"http://{host}/", allowed_hosts=())


def test_an_allowed_host_is_called_with_method_headers_and_json_and_no_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    sent = {"Authorization": "Bearer t", "USER-AGENT": "me"}
    with make_server(lambda asked: (201, {"X-Made": "a", "X-made": "b"}, b'{"id": 7}')) as server:
        answer = make_call(f"{server.url}a?b=c#d", "PUT", headers=sent, json={"a": [1, "\u00e9"]})
    [asked] = server.asked
    assert (answer.status, answer.headers["x-made"], answer.body, answer.truncated) == (201, "a, b", '{"id": 7}', False)
    assert (asked.command, asked.path, json.loads(asked.body)) == ("PUT", "/a?b=c", {"a": [1, "\u00e9"]})
    expected = {"Content-Type": "application/json", "Host": f"127.0.0.1:{server.port}"} | sent
    assert {name: asked.headers.get_all(name) for name in expected} == {name: [expected[name]] for name in expected}


@pytest.mark.parametrize("method", METHODS)
def test_a_json_of_null_is_a_body_and_without_json_there_is_none(method):
    with make_server() as server:
        assert make_call(server.url, method, json=None).body == ("" if method == "HEAD" else "hello")
        make_call(server.url, method)
    assert [(asked.command, asked.body) for asked in server.asked] == [(method, b"null"), (method, b"")]
    assert [asked.headers["Content-Type"] for asked in server.asked] == ["application/json", None]


@pytest.mark.parametrize("entry", ["in.example", "IN.example", "in.example:{}"])
def test_an_allowed_name_may_lead_to_a_private_address(internet, entry):
    internet.names["in.example"] = [["127.0.0.1"]]
    with make_server() as server:
        allowed = [entry.format(server.port)]
        assert make_call(f"http://In.Example.:{server.port}/", allowed_hosts=allowed).body == "hello"


def test_an_allowed_host_may_not_lead_to_another_private_one():
    with make_server() as inner, make_server(redirect(inner.url)) as outer, pytest.raises(Refused):
        make_call(outer.url, allowed_hosts=[f"127.0.0.1:{outer.port}"])
    assert inner.asked == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_sends_a_body_again_only_on_307_and_308(status, method):
    there = {"/a/first": (status, {"Location": "next"}, b"moved"), "/a/next": (200, {}, b"there")}
    with make_server(lambda asked: there[asked.path]) as server:
        make_call(f"{server.url}a/first", method, json=[], headers={"X-Key": "k"})
    [_, second] = server.asked
    kept = (method, b"[]", "application/json") if status > 303 else ("HEAD" if method == "HEAD" else "GET", b"", None)
    assert (second.command, second.body, second.headers["Content-Type"], second.headers["X-Key"]) == (*kept, "k")


def test_secrets_do_not_follow_to_another_origin():
    secrets = {"Authorization": "a", "cookie": "b", "Proxy-Authorization": "c", "X-Api-Key": "d"}
    with make_server() as other, make_server(redirect(other.url, 307)) as first:
        make_call(first.url, "POST", headers=secrets | {"Accept": "text/plain"}, json=1)
    assert [first.asked[0].headers[name] for name in secrets] == ["a", "b", "c", "d"]
    assert [other.asked[0].headers[name] for name in [*secrets, "Accept"]] == [None, None, None, None, "text/plain"]


def test_at_most_five_redirects_are_followed():
    with make_server(redirect("/again")) as server, pytest.raises(Refused, match="at most 5 redirects"):
        make_call(server.url)
    assert len(server.asked) == 6


def test_a_redirect_may_be_written_in_utf_8_and_one_without_location_is_the_answer():
    location = {"Location": "/caf\u00e9 au lait".encode().decode("latin-1")}
    with make_server(lambda asked: (302, location if asked.path == "/" else {}, b"end")) as server:
        answer = make_call(server.url)
    assert (answer.status, answer.body, server.asked[1].path) == (302, "end", "/caf%C3%A9%20au%20lait")


@pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, 10**6])
def test_the_body_is_cut_at_64_kib(size):
    with make_server(lambda asked: (200, {}, b"x" * size)) as server:
        answer = make_call(server.url)
    assert (len(answer.body), answer.truncated) == (min(size, MAX_BODY), size > MAX_BODY)


def test_a_body_without_end_is_cut():
    with make_raw_server(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"4000\r\n%b\r\n" % bytes(0x4000)) as url:
        assert make_call(url).truncated


def test_a_gzip_bomb_does_not_fill_the_memory():
    bomb = gzip.compress(gzip.compress(bytes(20_000_000), 5))
    with make_server(lambda asked: (200, {"Content-Encoding": "gzip, gzip"}, bomb)) as server:
        tracemalloc.start()
        answer = make_call(server.url)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (answer.body, answer.truncated, peak < 4_000_000) == ("\ufffd" * MAX_BODY, True, True)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("text", TEXTS)
def test_an_answer_becomes_text_that_the_database_takes(text, encoding):
    charset, raw, expected = text.split(" ")
    body = gzip.compress(bytes.fromhex(raw)) if encoding == "gzip" else bytes.fromhex(raw)
    headers = {"Content-Type": f"text/plain; Charset={charset}", "Content-Encoding": encoding, "X-A": "a\0b"}
    with make_server(lambda asked: (200, headers, body)) as server:
        answer = make_call(server.url)
    assert (answer.body, answer.headers["x-a"]) == (expected, "a\ufffdb")


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_counts_as_unreachable(answer):
    with make_raw_server(answer) as url, pytest.raises(Unreachable, match=r"cannot be reached: [^\0]{,80}$"):
        make_call(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://[::1]:1/", "http://no-such.example/"])
def test_a_closed_port_or_an_unknown_name_counts_as_unreachable(internet, url):
    with pytest.raises(Unreachable, match=r"cannot be (reached|resolved): [\w ]+$"):
        make_call(url, allowed_hosts=["127.0.0.1", "[::1]:1"])


def test_the_next_address_is_tried_if_one_does_not_answer_but_no_more_than_four(internet):
    silent = [PUBLIC_IPV6, NAT64, "1.1.1.2"]
    internet.names |= {"some.example": [[*silent, PUBLIC]], "many.example": [[*silent, "1.1.1.3", PUBLIC]]}
    with make_server() as server:
        internet.ports[PUBLIC] = server.port
        assert make_call("http://some.example/").body == "hello"
        with pytest.raises(Unreachable):
            make_call("http://many.example/")
    assert internet.connections == [*silent, PUBLIC, *silent, "1.1.1.3"]


def test_an_address_that_does_not_answer_leaves_the_others_their_share_of_the_time(internet):
    internet.names = {"some.example": [[PUBLIC_IPV6, NAT64, "1.1.1.2", PUBLIC]]}
    with pytest.raises(Unreachable):
        make_call("http://some.example/")
    shares = [PATIENCE / 4, PATIENCE / 3, PATIENCE / 2, PATIENCE]
    assert all(timeout <= share for timeout, share in zip(internet.timeouts, shares, strict=True))


@pytest.mark.parametrize("dripping", DRIPS)
def test_a_server_that_drips_is_cut_off_at_the_deadline_after_a_redirect_too(dripping):
    with make_raw_server(*DRIPS[dripping]) as url, make_server(redirect(url)) as server:
        if dripping == "TLS handshake":
            server.reply = redirect(url.replace("http:", "https:"))
        with cut_off_after(0.1):
            make_call(server.url, timeout=0.1)


def test_a_slow_name_server_is_not_waited_for_beyond_the_deadline(monkeypatch, over):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: over.wait(PATIENCE) and [])
    with cut_off_after(0.1):
        make_call("http://slow.example/", timeout=0.1)


@pytest.fixture
def secure(internet, tmp_path, monkeypatch):
    """A TLS server behind a public address, for secure.example and, wrongly, for other.example."""
    files = [str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")]
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=a -out {} -keyout {}"
    names = ["-addext", "subjectAltName=DNS:secure.example"]
    subprocess.run([*command.format(*files).split(), *names], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", files[0])
    internet.names |= {"secure.example": [[PUBLIC]], "other.example": [[PUBLIC]]}
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    with make_server(context=context) as server:
        context.sni_callback = lambda sock, name, context: setattr(server, "sni", name)
        internet.ports[PUBLIC] = server.port
        yield server


def test_tls_speaks_to_the_checked_address_under_the_name_and_follows_no_redirect_out_of_tls(internet, secure):
    assert make_call("https://secure.example./").body == "hello"
    assert (secure.sni, secure.asked[0].headers["Host"]) == ("secure.example", "secure.example")
    secure.reply = redirect("http://secure.example/")
    with pytest.raises(Refused, match="from https to http"):
        make_call("https://secure.example/")
    assert internet.connections == [PUBLIC, PUBLIC]


@pytest.mark.parametrize("host", ["other.example", "secure.example"])
def test_a_certificate_for_another_name_or_of_an_unknown_authority_is_not_taken(secure, host, monkeypatch):
    if host == "secure.example":
        monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unreachable, match="certificate"):
        make_call(f"https://{host}/", allowed_hosts=[host])
    assert secure.asked == []


def test_a_tls_server_that_never_answers_is_cut_off_at_the_deadline(secure, monkeypatch, over):
    asked = Event()
    secure.reply = lambda request: asked.set() or (over.wait(PATIENCE) and (200, {}, b""))
    # The deadline comes when the server has been asked, however long a handshake takes here.
    monkeypatch.setattr(client, "monotonic", lambda: PATIENCE if asked.is_set() else 0)
    monkeypatch.setattr(client, "Timer", lambda _, cut, args: Timer(0, lambda: asked.wait(PATIENCE) and cut(*args)))
    with pytest.raises(Unreachable, match=f"within {PATIENCE} s$"):
        make_call("https://secure.example/")
    assert len(secure.asked) == 1
