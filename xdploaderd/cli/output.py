"""What the command prints: JSON, aligned tables, and errors as one line each; foreign text is escaped."""

from __future__ import annotations

from xdploaderd.printable import printable
from xdploaderd.terminal import error_lines, write_err, write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from xdploaderd.errors import LoaderError

PROGRAM = "xdploaderctl"
EXIT_COMMAND_LINE = 2  # as argparse has it
EXIT_DEGRADED = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE
_GAP = "  "


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


def print_warnings(warnings: Sequence[str], *, as_json: bool = False) -> None:
    """Print each warning once, as one line or one JSON object on standard error."""
    for warning in dict.fromkeys(warnings):
        if as_json:
            _write_err_json({"warning": warning})
        else:
            print_note(f"warning: {warning}")


def print_note(text: str) -> None:
    """Print one line on standard error, after the command's name."""
    write_err(f"{PROGRAM}: {printable(text)}")


def print_error(error: LoaderError, *, as_json: bool, verbose: bool) -> None:
    """Print an error on standard error: one line with its code, or one JSON object, then details if there are any."""
    if as_json:
        _write_err_json(error.to_json())
        return
    for line in error_lines(error, verbose=verbose):
        print_note(line)


def _write_err_json(value: Mapping[str, Any]) -> None:
    import json

    write_err(json.dumps(value))


def text_of(row: Mapping[str, Any], key: str) -> str:
    """Return a value of a reply as the table shows it: nothing for what is missing, zero or empty."""
    value = row.get(key)
    return "" if value in (None, 0, "", False) else str(value)
