"""Values of options that are given by name: NAME=VALUE, of limits and sizes whole numbers."""

from __future__ import annotations

from xdploaderd.errors import UsageError
from xdploaderd.limits import Limits, limits_with
from xdploaderd.printable import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

_DIGITS_MAX = 20


def limits_of(args: argparse.Namespace) -> Limits:
    """Return the limits of --limit. Raises UsageError."""
    pairs = parse_pairs("--limit", "NAME=N", args.limit)
    return limits_with({name: parse_count("--limit", name, number) for name, number in pairs.items()})


def parse_pairs(option: str, form: str, words: Sequence[str]) -> Mapping[str, str]:
    """Return the values of an option that may be given for several names; `form` is for messages. Raises UsageError."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {quoted(word)} is not of the form {form}")
        if name in pairs:
            raise UsageError(f"{option} is given twice for {quoted(name)}")
        pairs[name] = value
    return pairs


def parse_count(option: str, name: str, word: str) -> int:
    """Return a whole number. Raises UsageError."""
    if not word.isascii() or not word.isdecimal() or len(word) > _DIGITS_MAX:
        raise UsageError(f"{option} {quoted(name)}: {quoted(word)} is no whole number")
    return int(word)
