"""Waits for a condition with a deadline, so that neither the demo nor the tests sleep a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

PAUSE = 0.02


class TooLateError(Exception):
    """A condition did not become true in time."""


def eventually(condition: Callable[[], Value], within: float, what: str = "", *, pause: float = PAUSE) -> Value:
    """Return the condition's first true value; raise TooLateError if there is none within so many seconds.

    what: subject of the error "… did not happen"; by default the condition's name.
    """
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__qualname__", repr(condition))
            raise TooLateError(f"{name} did not happen within {within:g} s (last: {value!r}).")
        time.sleep(pause)
