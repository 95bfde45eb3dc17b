"""Processes that handlers and tasks fork have the default signal handlers: terminate() ends them."""

import os
import signal
import threading

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM}

_before = threading.local()


def forget_signal_handlers_at_fork() -> None:
    """For all later forks of this process.

    Signals are blocked meanwhile: one that came before the child has forgotten our handlers would be lost.
    """
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_start_afresh)


def _block() -> None:
    _before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before.mask)


def _start_afresh() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    _unblock()
