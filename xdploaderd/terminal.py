"""Standard output and standard error: whole lines at once, in the stream's encoding, and what is wrong with them told.

The lines of an error are made here too, since every command of this project tells its errors alike.
"""

from __future__ import annotations

import os
import sys

from xdploaderd.errors import LoaderError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

_LOG_TAIL = 8  # lines of a verifier's log that are shown unasked


def write_out(text: str) -> None:
    """Write lines to standard output at once, so that what went wrong with it is known here.

    Raises BrokenPipeError when the reader went away, LoaderError when they cannot be written.
    """
    if sys.stdout is None:  # closed by the caller
        return
    try:
        _write(text, sys.stdout)
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard(sys.stdout)
        raise LoaderError(f"cannot write the output: {(error.strerror or str(error)).lower()}") from None


def discard_output() -> None:
    """Let what standard output still holds go nowhere, so that closing it cannot fail again."""
    if sys.stdout is not None:
        _discard(sys.stdout)


def write_err(line: str) -> None:
    """Write a line to standard error; with nobody there to read it, nothing happens."""
    if sys.stderr is None:  # closed by the caller
        return
    try:
        _write(line, sys.stderr)
    except OSError:  # nobody is left to be told
        _discard(sys.stderr)


def error_lines(error: LoaderError, *, verbose: bool, option: str = "--verbose") -> Iterator[str]:
    """Yield the lines that tell an error: several faults of a configuration have one line each.

    Of a verifier's log the last lines are told, with the state of the registers, and which `option` tells all of it.
    """
    faults = _strings(error.fields.get("errors"))
    for fault in faults:
        yield f"{error.code}: {': '.join((*error.place, fault))}"
    if not faults:
        yield f"{error.code}: {error}"
    yield from _log_lines(_strings(error.fields.get("log")), "" if verbose else option)


def _log_lines(log: Sequence[str], option: str) -> Iterator[str]:
    left_out = max(len(log) - _LOG_TAIL, 0) if option else 0
    if left_out:
        yield f"  {left_out} of the {len(log)} lines of log are left out: {option} prints all of it"
    yield from (f"  {line}" for line in log[left_out:])


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _write(text: str, stream: TextIO) -> None:
    stream.write(_encodable(text, stream) + "\n")
    stream.flush()


def _encodable(text: str, stream: TextIO) -> str:
    """Return the text with escapes for what the stream's encoding cannot say."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, errors="backslashreplace").decode(encoding)


def _discard(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
