"""How many heaps the threads of an I/O worker share."""

import platform
import re
import subprocess
import sys

import pytest

from demo.stack import ROOT
from jobs.worker.malloc import ARENAS

PROGRAM = """
import ctypes, threading
from jobs.worker.malloc import limit_arenas

limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
libc.fflush.argtypes = [ctypes.c_void_p]
together = threading.Barrier(20)

def allocate():
    together.wait()
    libc.malloc(1000)

threads = [threading.Thread(target=allocate) for _ in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
output = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, output)
libc.fflush(output)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="Other C libraries have no heaps of threads.")
def test_twenty_threads_share_two_heaps() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 1 <= len(re.findall(r"<heap nr=", done.stdout)) <= ARENAS
