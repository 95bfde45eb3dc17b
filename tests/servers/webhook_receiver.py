"""The application's end of webhooks: a real HTTP server in a thread, which keeps what comes and answers as told."""

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from demo.eventually import eventually

WITHIN = 20


class WebhookReceiver:
    """`answer` gives the status for an event; 200 by default."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._since = 0.0
        self.answer: Callable[[dict[str, Any]], int] = lambda event: 200
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="webhook-receiver", daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/mailgun/tracking/"

    @property
    def webhooks(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    def about(self, recipient: str) -> list[dict[str, Any]]:
        """What came about mail to this address, in the order in which it came."""
        return [webhook for webhook in self.webhooks if _recipient(webhook) == recipient]

    def wait_for(self, recipient: str, count: int) -> list[dict[str, Any]]:
        def arrived() -> list[dict[str, Any]] | None:
            found = self.about(recipient)
            return found if len(found) >= count else None

        found = eventually(arrived, WITHIN, f"{count} webhooks about {recipient}")
        assert found
        return found

    def clear(self) -> None:
        """What happened before this and is still on its way will be answered, and not kept."""
        self._since = time.time()
        self.bodies.clear()
        self.answer = lambda event: 200

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                event = json.loads(body)["event-data"]
                if event["timestamp"] >= receiver._since:
                    receiver.bodies.append(body)
                self.send_response(receiver.answer(event))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def _recipient(webhook: dict[str, Any]) -> str:
    """A rejected event names it in its headers only."""
    data = webhook["event-data"]
    return str(data.get("recipient") or data["message"]["headers"]["to"])
