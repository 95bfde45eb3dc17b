"""How long tests wait for something that has to happen: these deadlines only guard against hanging.

Where a time is promised, the time that the machine itself has lost is subtracted: lost_time().
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic

PATIENCE = 60
"""Seconds, on a machine that is slow, noisy, or stands still for a while."""
BLINK, USUAL = 0.05, 0.1
"""Seconds that the watch sleeps, and within which it usually wakes."""


@contextmanager
def lost_time() -> Iterator[Callable[[], float]]:
    """Seconds that the machine has lost in this block: by how much a thread overslept in many short sleeps."""
    lost, over = [0.0], Event()

    def watch() -> None:
        began = monotonic()
        while not over.wait(BLINK):
            lost[0] += max(monotonic() - began - USUAL, 0)
            began = monotonic()

    thread = Thread(target=watch)
    thread.start()
    try:
        yield lambda: lost[0]
    finally:
        over.set()
        thread.join()
