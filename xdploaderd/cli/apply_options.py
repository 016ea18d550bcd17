"""The verbs that put a configuration in force: `reload`, and `apply`, which is the same by its other name."""

from __future__ import annotations

import argparse

from xdploaderd.cli.plain import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class AddsVerbs(Protocol):
        """What verbs are added to."""

        def add(
            self, name: str, run: Callable[[argparse.Namespace], int], text: str, *, online: bool
        ) -> argparse.ArgumentParser: ...


_APPLY = """\
Read the configuration again and do what it wants, as one change. Every object is prepared and every program loaded
before the first one is attached; where anything fails, all stays or becomes as it was.
"""


_CONFIRM = """\
Let what `apply`, `attach` or `detach` did with --confirm stay in force. Without this it is rolled back when its time is
over.
"""
_UNITS = {"s": 1, "m": 60, "h": 3600}


def apply_verb(verbs: AddsVerbs, name: str) -> None:
    """Add the verb to the command line."""
    parser = verbs.add(name, lazy("online", "reload"), _APPLY, online=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--partial", action="store_true", help="every entry by itself: bad ones stop no other")
    add_confirm(parser)
    if name == "apply":
        text = "roll back now what `apply`, `attach` or `detach` did with --confirm"
        how.add_argument("--rollback", action="store_true", help=text)


def add_confirm(parser: argparse.ArgumentParser) -> None:
    """Add the option of verbs that can put what they do on trial."""
    parser.add_argument(
        "--confirm",
        type=_seconds,
        default=0,
        metavar="TIME",
        help="roll back after TIME, such as 60s or 5m, unless `xdploaderctl confirm` is called",
    )


def confirm_verb(verbs: AddsVerbs, name: str) -> None:
    """Add the verb to the command line."""
    verbs.add(name, lazy("online", "confirm"), _CONFIRM, online=True)


def _seconds(text: str) -> int:
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not number.isascii() or not number.isdecimal() or not int(number[:9]) * _UNITS[unit] > 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no time, want a whole number of s, m or h, such as 60s")
    return int(number[:9]) * _UNITS[unit]
