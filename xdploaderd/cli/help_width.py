"""How wide a page of help is, and how its texts are broken into lines."""

from __future__ import annotations

import os

_COLUMNS = 80  # where nothing tells the width of the terminal


def help_width() -> int:
    """Return the columns that argparse would choose."""
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal():
        try:
            columns = str(os.get_terminal_size().columns)
        except OSError:
            columns = ""
    return int(columns or _COLUMNS) - 2


def wrapped(text: str, width: int) -> list[str]:
    """Break a text between words."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
