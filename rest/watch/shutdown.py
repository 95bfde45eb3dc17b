"""Ends streams and held responses when the server is told to stop: it waits for open responses before anything else."""

import asyncio
import signal
import threading
from types import FrameType

from rest.watch.hub import Hub, hub

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_watches_at_shutdown() -> None:
    """Called at the server's start-up, on its event loop. The server's own signal handlers are called first."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            _call_also(number, asyncio.get_running_loop(), hub())


def _call_also(number: signal.Signals, loop: asyncio.AbstractEventLoop, of_loop: Hub) -> None:
    before = signal.getsignal(number)
    if not callable(before):
        return

    def handle(number: int, frame: FrameType | None) -> None:
        before(number, frame)
        loop.call_soon_threadsafe(of_loop.close)

    signal.signal(number, handle)
