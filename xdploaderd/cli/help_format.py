"""How help is laid out: as argparse does it, without two modules that it imports for that by itself."""

import argparse
import functools
import os

_COLUMNS = 80  # where nothing tells the width of the terminal


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps the help of an option between words; textwrap, which argparse takes, compiles expressions as it starts."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        lines: list[str] = []
        for word in text.split():
            if lines and len(lines[-1]) + 1 + len(word) <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        return lines


def formatter(prog: str) -> argparse.HelpFormatter:
    """Return a formatter for this terminal; argparse makes one for each option, and by itself imports shutil for it."""
    return _Formatter(prog, width=_width())


@functools.cache
def _width() -> int:
    """Return the columns that argparse would choose."""
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal():
        try:
            columns = str(os.get_terminal_size().columns)
        except OSError:
            columns = ""
    return int(columns or _COLUMNS) - 2
