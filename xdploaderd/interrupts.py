"""Signals that end the command, held back while it would leave half of a load behind."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


@contextmanager
def held_signals() -> Iterator[Callable[[], None]]:
    """Hold back the signals that end a process; yield what raises KeyboardInterrupt once one has come.

    At the end of the block, when everything is undone or in place, the signal does what it always does.
    """
    # one that is ignored, or was blocked from the start, stays pending and means nothing
    meant = {number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, meant)
    ours = meant - before

    def check() -> None:
        if ours & signal.sigpending():
            raise KeyboardInterrupt

    try:
        yield check
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
