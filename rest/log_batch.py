"""Log lines that are written together: the write is a fifth of what a line costs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Write = Callable[[str], None]

_held: ContextVar[list[tuple[Write, str]] | None] = ContextVar("held_log_lines", default=None)


@contextmanager
def one_write() -> Iterator[None]:
    """Lines below WARNING that are logged meanwhile are written at its end, at once."""
    lines: list[tuple[Write, str]] = []
    token = _held.set(lines)
    try:
        yield
    finally:
        _held.reset(token)
        if lines:
            write, _ = lines[0]
            write("\n".join(line for _, line in lines))


def write_or_hold(write: Write, line: str) -> None:
    if (lines := _held.get()) is None:
        write(line)
    else:
        lines.append((write, line))
