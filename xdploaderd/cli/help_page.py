"""`xdploaderctl VERB --help` without argparse, which takes longer to import than all else that such a page needs.

A page is laid out as argparse's HelpFormatter (Python 3.11) does it; a test holds every verb's against that.
"""

from __future__ import annotations

from types import SimpleNamespace

from xdploaderd.cli.help_width import help_width, wrapped
from xdploaderd.cli.output import PROGRAM
from xdploaderd.cli.shared_options import add_common
from xdploaderd.cli.verb_table import MAP, VERBS, declare
from xdploaderd.errors import UsageError
from xdploaderd.terminal import write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from xdploaderd.cli.declared import Run

_HELP_FLAGS = ("-h", "--help")
_WITHOUT_VALUE = ("store_true", "help")
_MOST_COLUMNS_OF_NAMES = 24
_LEAST_COLUMNS_OF_TEXT = 11


def help_arguments(words: Sequence[str]) -> SimpleNamespace | None:
    """Return the arguments of `VERB --help`; None for any other line, and for `map`, which has verbs below it."""
    verb, flag = words if len(words) == 2 else ("", "")  # noqa: PLR2004 - the verb and the option
    if flag not in _HELP_FLAGS or verb not in VERBS or verb == MAP:
        return None
    return SimpleNamespace(json=False, verbose=False, run=lambda _args: _show(verb))


def _show(verb: str) -> int:
    write_out(page_of(verb, help_width()))
    return 0


def page_of(verb: str, width: int) -> str:
    """Return the page of help of a verb, no line of its lists wider than `width` columns where that can be."""
    pages = _Pages()
    declare(pages, verb)
    return pages.page.laid_out(width)


class _Row:
    """An operand or option: `name` in its list, `usage` in pieces that stay on one line each, and its text."""

    __slots__ = ("name", "text", "usage")

    def __init__(self, name: str, usage: list[str], text: str) -> None:
        self.name = name
        self.usage = usage
        self.text = text


class _Rows:
    """Takes the declarations that argparse's parser takes."""

    def __init__(self, operands: list[_Row], options: list[_Row]) -> None:
        self.operands = operands
        self.options = options

    def add_argument(  # noqa: PLR0913 - what it says does not matter here is for the parser
        self,
        *flags: str,
        action: str = "store",
        nargs: str | None = None,
        default: Any = None,
        type: Callable[[str], Any] | None = None,
        choices: Sequence[str] | None = None,
        required: bool = False,
        help: str | None = None,
        metavar: str | None = None,
        dest: str | None = None,
    ) -> None:
        """Add an operand, or an option by its flags; `default`, `type` and `dest` show nowhere."""
        value = "" if action in _WITHOUT_VALUE else metavar or f"{{{','.join(choices or ())}}}"
        if not flags[0].startswith("-"):
            self.operands.append(_Row(value, _operand_usage(value, nargs), help or ""))
            return
        named = [f"{flag} {value}".rstrip() for flag in flags]
        usage = named[0].split() if required else [f"[{named[0]}]"]
        self.add_option(_Row(", ".join(named), usage, help or ""))

    def add_option(self, row: _Row) -> None:
        """Add an option."""
        self.options.append(row)


class _Group(_Rows):
    """Options that exclude each other: one piece of the usage."""

    def add_option(self, row: _Row) -> None:
        """Add an option behind the first one of the group."""
        if self.operands:
            first, row.usage[:] = self.operands[0], []
            first.usage[:] = [f"{first.usage[0][:-1]} | {row.name}]"]
        self.operands.append(row)
        super().add_option(row)


class _Page(_Rows):
    """The help of one verb."""

    def __init__(self, prog: str, text: str, epilog: str) -> None:
        super().__init__([], [])
        self._start = f"usage: {prog}"
        self._text = text
        self._epilog = epilog

    def add_mutually_exclusive_group(self) -> _Group:
        """Return a group whose options are this page's."""
        return _Group([], self.options)

    def set_defaults(self, *, check: Callable[[Any], None]) -> None:
        """Take what looks at the arguments, of which there are none here."""

    def error(self, message: str) -> NoReturn:
        """Raise as the parser does."""
        raise UsageError(message)

    def laid_out(self, width: int) -> str:
        """Return the page; its last line has no end."""
        longest = max(len(row.name) for row in (*self.operands, *self.options))
        column = min(longest + 4, _MOST_COLUMNS_OF_NAMES, max(width - 20, 4))
        parts = [self._usage(width), self._text.strip("\n")]
        for title, rows in (("positional arguments", self.operands), ("options", self.options)):
            if rows:
                parts.append("\n".join((f"{title}:", *(line for row in rows for line in _listed(row, column, width)))))
        return "\n\n".join(part for part in (*parts, self._epilog.strip("\n")) if part)

    def _usage(self, width: int) -> str:
        options, operands = ([piece for row in rows for piece in row.usage] for rows in (self.options, self.operands))
        whole = " ".join((self._start, *options, *operands))
        if len(whole) <= width:
            return whole
        indent = " " * (len(self._start) + 1)
        return "\n".join((*_filled([self._start], options, indent, width), *_filled([], operands, indent, width)))


class _Pages:
    """A command of which one verb is declared."""

    def __init__(self) -> None:
        self.page = _Page(PROGRAM, "", "")

    def add(self, name: str, run: Run, text: str, *, epilog: str = "", online: bool = False) -> _Page:
        """Take the verb."""
        self.page = _Page(f"{PROGRAM} {name}", text, epilog)
        self.page.add_argument(*_HELP_FLAGS, action="help", help="show this help message and exit")
        add_common(self.page, online=online)
        return self.page


def _operand_usage(value: str, nargs: str | None) -> list[str]:
    match nargs:
        case "?":
            return [f"[{value}]"]
        case "*":
            return [f"[{value} ...]"]
        case "+":
            return [value, f"[{value} ...]"]
        case _:
            return [value]


def _filled(lines: list[str], pieces: Sequence[str], indent: str, width: int) -> list[str]:
    """Put pieces into the last line while there is room, and into new ones."""
    for piece in pieces:
        if lines and len(lines[-1]) + 1 + len(piece) <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(indent + piece)
    return lines


def _listed(row: _Row, column: int, width: int) -> list[str]:
    """Return the lines of an operand or option in its list, their texts beginning at `column`."""
    name = f"  {row.name}"
    if not row.text:
        return [name]
    first, *more = (" " * column + line for line in wrapped(row.text, max(width - column, _LEAST_COLUMNS_OF_TEXT)))
    beside = len(name) + 2 <= column
    return [name + first[len(name) :], *more] if beside else [name, first, *more]
