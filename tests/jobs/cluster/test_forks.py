"""A process that a job or task has forked ends when it is terminated, however soon."""

import signal
import subprocess
import sys

PROGRAM = """
import os, signal
from jobs.cluster.forks import reset_signal_handlers_at_fork
signal.signal(signal.SIGTERM, lambda number, frame: None)
reset_signal_handlers_at_fork()
for _ in range(50):
    child = os.fork()
    if not child:
        signal.pause()
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
os.kill(os.getpid(), signal.SIGTERM)
print("still here", signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


def test_a_child_ends_when_it_is_terminated_at_once_and_its_parent_keeps_its_handlers() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split("\n") == [*[str(-signal.SIGTERM)] * 50, "still here set()", ""]
