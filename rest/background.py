"""Work that a web process repeats in the background, beside the requests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections


@contextmanager
def repeated(function: Callable[[], None], *, every: float, name: str) -> Iterator[None]:
    """While the block runs, call the function every so many seconds, in a thread that keeps no connection open.

    name: the thread's. The function must catch its own errors: one that escapes would end the thread. A call that is
    running when the block ends is not waited for.
    """
    over = threading.Event()

    def loop() -> None:
        while not over.wait(every):
            function()
            connections.close_all()

    threading.Thread(target=loop, name=name, daemon=True).start()
    try:
        yield
    finally:
        over.set()
