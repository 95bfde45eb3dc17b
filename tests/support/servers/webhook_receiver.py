"""The receiver of webhooks: a real HTTP server in a thread, which keeps them and answers as the test says."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from itertools import count
from threading import Thread
from typing import Any

from demo.eventually import eventually
from tests.support.servers.web import Server

WITHIN = 60


class WebhookReceiver:
    """`url` is where it listens since the last clear(); `answer` gives the status for an event; 200 by default."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        """In the order in which they came."""
        self.answer: Callable[[dict[str, Any]], int] = lambda event: 200
        self._paths = (f"/webhooks/{number}/mailgun/tracking/" for number in count(1))
        self._path = next(self._paths)
        self._server = Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="webhook-receiver", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    @property
    def webhooks(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    def about(self, recipient: str) -> list[dict[str, Any]]:
        """What came about mail to this address, in the order in which it happened: those of different events come
        side by side, and one may overtake the other on a busy machine."""
        found = [webhook for webhook in self.webhooks if _recipient(webhook) == recipient]
        return sorted(found, key=lambda webhook: webhook["event-data"]["timestamp"])

    def wait_for(self, recipient: str, count: int) -> list[dict[str, Any]]:
        def arrived() -> list[dict[str, Any]] | None:
            found = self.about(recipient)
            return found if len(found) >= count else None

        found = eventually(arrived, WITHIN, f"{count} webhooks about {recipient}")
        assert found
        return found

    def clear(self) -> None:
        """Start afresh at another URL. Webhooks that still come to the old one are answered and not kept."""
        self._path = next(self._paths)
        self.bodies.clear()
        self.answer = lambda event: 200

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, path: str, body: bytes) -> int:
        """Keep the webhook; returns the status to answer with."""
        if path != self._path:
            return 200
        self.bodies.append(body)
        return self.answer(json.loads(body)["event-data"])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver._take(self.path, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def _recipient(webhook: dict[str, Any]) -> str:
    """A rejected event names it in its headers only."""
    data = webhook["event-data"]
    return str(data.get("recipient") or data["message"]["headers"]["to"])
