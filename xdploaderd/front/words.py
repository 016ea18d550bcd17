"""iproute2's words: a cursor over arguments, abbreviations, and errors with the exit status of the tool stood in for.

Mirrors iproute2 lib/utils.c (matches, incomplete_command, invarg, duparg) and the NEXT_ARG macros of include/utils.h.
"""

from collections.abc import Sequence

from xdploaderd.errors import UsageError
from xdploaderd.printable import quoted

EXIT_WORDS = 255  # a wrong command line: exit(-1)
EXIT_NO_DEVICE = 1
EXIT_KERNEL = 2  # netlink refused
STATUS_FIELD = "exit_status"  # of errors that know how the tool ends


def refused(message: str, *, status: int = EXIT_WORDS) -> UsageError:
    """Return the error for a command line that iproute2 refuses; `status` is what it exits with then."""
    return UsageError(message, fields={STATUS_FIELD: status})


def matches(word: str, full: str) -> bool:
    """Tell whether a word is `full` or its beginning; the empty word is nothing's."""
    return bool(word) and full.startswith(word)


def incomplete() -> UsageError:
    """Return the error for a command line that ends where a word is wanted."""
    return refused("the command line ends too early, a word is missing behind the last one")


def invalid(word: str, wanted: str) -> UsageError:
    """Return the error for a value that is none."""
    return refused(f"{quoted(word)} is wrong, want {wanted}")


def duplicate(option: str, word: str) -> UsageError:
    """Return the error for a second value where one is wanted."""
    return refused(f"{quoted(option)} is given twice, or {quoted(word)} is no word of this command")


class Words:
    """The words of one command, read from left to right."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._at = 0

    def __bool__(self) -> bool:
        """Tell whether words are left."""
        return self._at < len(self._words)

    @property
    def left(self) -> int:
        """How many words are left."""
        return len(self._words) - self._at

    @property
    def at(self) -> int:
        """The place of the next word."""
        return self._at

    def peek(self) -> str:
        """Return the next word and leave it; empty at the end, which no comparison matches."""
        return self._words[self._at] if self else ""

    def take(self) -> str:
        """Return the next word and go past it. Raises UsageError at the end."""
        if not self:
            raise incomplete()
        self._at += 1
        return self._words[self._at - 1]

    def accept(self, full: str, *exact: str) -> bool:
        """Go past the next word when it abbreviates `full`, or is one of `exact`; tell whether it did."""
        word = self.peek()
        if not matches(word, full) and not (word and word in exact):
            return False
        self._at += 1
        return True

    def accept_exact(self, *words: str) -> bool:
        """Go past the next word when it is one of these as written; tell whether it did."""
        if self.peek() not in words or not self:
            return False
        self._at += 1
        return True

    def rest(self) -> tuple[str, ...]:
        """Return all words that are left and go past them."""
        found = self._words[self._at :]
        self._at = len(self._words)
        return found
