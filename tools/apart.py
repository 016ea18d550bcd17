"""Make a call in a process of its own, so that a library that crashes in it takes only that process along."""

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class CrashedError(Exception):
    """The process of a call ended without an answer."""


def apart(call: Callable[[], T]) -> T:
    """Return what the call returns, which has to be picklable.

    The process is forked: it has the caller's descriptors and namespaces. Raises CrashedError, with how it ended.
    """
    fork = multiprocessing.get_context("fork")
    answers, answer = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: answer.send(call()))
    child.start()
    answer.close()
    try:
        found: T = answers.recv()
    except EOFError:
        child.join()
        raise CrashedError(f"ended by status {child.exitcode}") from None
    finally:
        answers.close()
        child.join()
        child.close()
    return found
