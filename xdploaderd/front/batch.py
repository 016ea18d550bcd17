"""Batch files: our lines done by us, the runs of other lines between them by the real tool at once.

Mirrors getcmdline, makeargs and do_batch of iproute2 lib/utils.c. Comments, quotes and lines continued by a backslash
are read as there; the first line that fails ends the batch, unless -force is given.
"""

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xdploaderd.errors import FileError
from xdploaderd.front.words import EXIT_WORDS, refused
from xdploaderd.printable import quoted

STANDARD_INPUT = "-"
_WORDS_MAX = 511  # of a line
_SPACE = " \t\r\n"
_FAILED = 1


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One command of a batch: its number in the file, its text as written, its words."""

    number: int
    text: str
    words: tuple[str, ...]


def read_batch(name: str) -> Iterator[BatchLine]:
    """Yield the commands of a batch file, or of standard input for `-`. Raises FileError, UsageError for a bad line."""
    if name == STANDARD_INPUT:
        yield from _commands(sys.stdin)
        return
    try:
        with Path(name).open(encoding="utf-8", errors="surrogateescape") as file:
            yield from _commands(file)
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        raise FileError(f"batch file {quoted(name)} cannot be read: {text}", fields={"exit_status": _FAILED}) from None


def _commands(lines: Iterable[str]) -> Iterator[BatchLine]:
    text = ""
    for number, line in enumerate(lines, 1):
        text += line.rstrip("\n").partition("\0")[0].partition("#")[0]  # a NUL ends a line of C
        if text.endswith("\\"):
            text = text[:-1]
            continue
        if words := split_words(text):
            yield BatchLine(number, text, words)
        text = ""
    if text:
        raise refused("the last line ends with a backslash, a line is missing behind it", status=_FAILED)


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a line; quotes begin and end words, and nothing escapes them. Raises UsageError."""
    words, at = [], 0
    while at < len(text):
        if text[at] in _SPACE:
            at += 1
            continue
        quote = text[at] if text[at] in "'\"" else ""
        at += len(quote)
        end = text.find(quote, at) if quote else _end_of_word(text, at)
        if end < 0:
            raise refused(f"a quoted word does not end: {quoted(text)}", status=_FAILED)
        words.append(text[at:end])
        at = end + 1
    if len(words) > _WORDS_MAX:
        raise refused(f"{len(words)} words on one line, at most {_WORDS_MAX} are taken", status=_FAILED)
    return tuple(words)


def _end_of_word(text: str, start: int) -> int:
    found = re.compile(f"[{_SPACE}]").search(text, start)
    return found.start() if found else len(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runners:
    """Which commands of a batch are ours, what runs them, what runs a text of others, and where failures are told."""

    ours: Callable[[BatchLine], bool]
    run_own: Callable[[BatchLine], int]
    run_real: Callable[[str], int]
    say: Callable[[str], None]


def run_batch(name: str, lines: Iterable[BatchLine], runners: Runners, *, force: bool) -> int:
    """Run the commands in order and return the exit status: 1 when one failed.

    Without `force` the first that fails is the last; one whose words are wrong always is, and gives its status. Each
    command stands on the line of its number in the text that `run_real` gets.
    """
    failed = 0
    for status, where in _run_each(lines, runners):
        if status:
            runners.say(f"{where} of {quoted(name)} failed")
            failed = EXIT_WORDS if status == EXIT_WORDS else _FAILED
        if failed == EXIT_WORDS or (failed and not force):
            return failed
    return failed


def _run_each(lines: Iterable[BatchLine], runners: Runners) -> Iterator[tuple[int, str]]:
    for mine, run in itertools.groupby(lines, runners.ours):
        if mine:
            yield from ((runners.run_own(line), f"line {line.number}") for line in run)
        else:
            yield runners.run_real(_text_of(run)), "a line"


def _text_of(lines: Iterable[BatchLine]) -> str:
    text, at = [], 1
    for line in lines:
        text.append("\n" * (line.number - at) + line.text + "\n")
        at = line.number + 1
    return "".join(text)
