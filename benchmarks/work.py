"""What the measured jobs do: the same two functions for every peer. Standard library only."""

import socket
import time

ANSWER = 42
"""What the no-op returns, so that each stored result can be recognised."""


def noop() -> int:
    return ANSWER


def tell_start(path: str) -> int:
    """Send the moment at which this job began (time.monotonic, one clock for the machine) to the socket at path."""
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(repr(began).encode(), path)
    return ANSWER
