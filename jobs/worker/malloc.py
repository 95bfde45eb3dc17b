"""Settings of the C library's allocator, for processes with many threads."""

import ctypes
from contextlib import suppress

M_ARENA_MAX = -8
"""malloc.h of glibc."""
ARENAS = 2


def limit_arenas() -> None:
    """Let the threads of this process share ARENAS heaps.

    glibc gives up to eight heaps a core to threads. Each keeps free space that no other heap can use, and the memory of
    the process creeps up for hours. Other C libraries have no mallopt(), and no such heaps.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
