"""The process: uvicorn on one port, until SIGTERM or Ctrl-C, and a door that can be closed for a while."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mail.simulator.app import App

BACKLOG = 2048
KEEP_ALIVE = 75


class Protocol(HttpToolsProtocol):
    """Hands the connection to the application, so that a fault can end it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class Server(uvicorn.Server):
    """Calls `say` with its URL when it begins to listen."""

    def __init__(self, host: str, port: int, say: Callable[[str], None]) -> None:
        self._say = say
        self._socket = _bound(host, port)
        self._address = self._socket.getsockname()[:2]
        self._reopening: asyncio.Task[None] | None = None
        # A fault ends without an answer, which uvicorn would report.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    def serve_until_told(self, app: App) -> None:
        options = {"ws": "none", "lifespan": "off", "log_config": None, "access_log": False}
        bounds = {"backlog": BACKLOG, "timeout_keep_alive": KEEP_ALIVE, "timeout_graceful_shutdown": 1}
        super().__init__(uvicorn.Config(app, http=Protocol, **options, **bounds))  # type: ignore[arg-type]
        self.run([self._socket])

    def refuse(self, seconds: float) -> None:
        """Closes the port and every connection; opens again after so many seconds."""
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in list(self.server_state.connections):
            # The one that asks for it still gets its answer.
            loop.call_soon(connection.transport.close)
        if self._reopening:
            self._reopening.cancel()
        self._reopening = loop.create_task(self._reopen(seconds))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._address
        self._say(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own ends the process by the signal after all; here it ends with exit code 0."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, self._leave)
        yield

    def _leave(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await super().startup([_bound(*self._address)])


def _bound(host: str, port: int) -> socket.socket:
    """OSError where somebody listens already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
