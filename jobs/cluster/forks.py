"""Makes processes that handlers and tasks fork use the default signal handlers, so that terminate() ends them."""

import os
import signal
import threading

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM}

_mask_before_fork = threading.local()


def reset_signal_handlers_at_fork() -> None:
    """For all later forks of this process.

    Signals are blocked during the fork: one that arrived before the child has reset our handlers would be lost.
    """
    os.register_at_fork(before=_block, after_in_parent=_restore_mask, after_in_child=_reset)


def _block() -> None:
    _mask_before_fork.value = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _restore_mask() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask_before_fork.value)


def _reset() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    _restore_mask()
