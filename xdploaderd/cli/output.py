"""What the command prints: JSON, aligned tables, and errors as one line each; foreign text is escaped."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from xdploaderd.errors import LoaderError
from xdploaderd.printable import printable

PROGRAM = "xdploaderctl"
EXIT_COMMAND_LINE = 2  # as argparse has it
EXIT_DEGRADED = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE
_GAP = "  "
_LOG_TAIL = 8  # lines of a verifier's log that are shown unasked


def print_json(value: object) -> None:
    """Print one JSON document, indented."""
    import json

    write_out(json.dumps(value, indent=2, ensure_ascii=False))


def print_line(text: str) -> None:
    """Print one line, escaped."""
    write_out(printable(text))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header, each column as wide as its longest cell; an empty cell is shown as `-`."""
    cells = [tuple(header), *(tuple(printable(cell) or "-" for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    write_out("\n".join(_GAP.join(map(str.ljust, row, widths)).rstrip() for row in cells))


def write_out(text: str) -> None:
    """Write lines to standard output at once, so that what went wrong with it is known here.

    Raises BrokenPipeError when the reader went away, LoaderError when they cannot be written.
    """
    if sys.stdout is None:  # closed by the caller
        return
    try:
        print(_encodable(text, sys.stdout), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard(sys.stdout)
        raise LoaderError(f"cannot write the output: {(error.strerror or str(error)).lower()}") from None


def discard_output() -> None:
    """Let what standard output still holds go nowhere, so that closing it cannot fail again."""
    if sys.stdout is not None:
        _discard(sys.stdout)


def print_warnings(warnings: Sequence[str], *, as_json: bool = False) -> None:
    """Print each warning once, as one line or one JSON object on standard error."""
    for warning in dict.fromkeys(warnings):
        if as_json:
            _write_err_json({"warning": warning})
        else:
            print_note(f"warning: {warning}")


def print_note(text: str) -> None:
    """Print one line on standard error, after the command's name."""
    _write_err(f"{PROGRAM}: {printable(text)}")


def print_error(error: LoaderError, *, as_json: bool, verbose: bool) -> None:
    """Print an error on standard error: one line with its code, or one JSON object, then details if there are any."""
    if as_json:
        _write_err_json(error.to_json())
        return
    for line in error_lines(error, verbose=verbose):
        print_note(line)


def error_lines(error: LoaderError, *, verbose: bool) -> Iterator[str]:
    """Yield the lines that tell an error: several faults of a configuration have one line each."""
    faults = _strings(error.fields.get("errors"))
    for fault in faults:
        yield f"{error.code}: {': '.join((*error.place, fault))}"
    if not faults:
        yield f"{error.code}: {error}"
    yield from _log_lines(_strings(error.fields.get("log")), verbose=verbose)


def _log_lines(log: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """Yield the verifier's last lines, with the state of the registers, or all of them."""
    left_out = 0 if verbose else max(len(log) - _LOG_TAIL, 0)
    if left_out:
        yield f"  {left_out} earlier lines of the verifier's log are left out: --verbose prints all of it"
    yield from (f"  {line}" for line in log[left_out:])


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _write_err_json(value: Mapping[str, Any]) -> None:
    import json

    _write_err(json.dumps(value))


def _write_err(line: str) -> None:
    if sys.stderr is None:  # closed by the caller
        return
    try:
        print(_encodable(line, sys.stderr), file=sys.stderr, flush=True)
    except OSError:  # nobody is left to be told
        _discard(sys.stderr)


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


def text_of(row: Mapping[str, Any], key: str) -> str:
    """Return a value of a reply as the table shows it: nothing for what is missing, zero or empty."""
    value = row.get(key)
    return "" if value in (None, 0, "", False) else str(value)
