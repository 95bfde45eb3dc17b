"""Work that a web process repeats in the background, beside the requests."""

import threading
from collections.abc import Callable

from django.db import connections


def repeat(function: Callable[[], None], *, every: float, name: str) -> threading.Thread:
    """Call the function every so many seconds, until the process ends, in a thread that keeps no connection open.

    name: the thread's. The function catches what can go wrong; an exception would end the thread.
    """

    def loop() -> None:
        pause = threading.Event()
        while not pause.wait(every):
            function()
            connections.close_all()

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread
