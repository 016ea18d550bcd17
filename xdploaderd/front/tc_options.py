"""The options before the object of `tc`, and our own: --direct and --socket PATH.

Mirrors main of iproute2 tc/tc.c: options are compared in its order, since each may be abbreviated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xdploaderd.front.words import Words, matches

_DIRECT, _SOCKET = "--direct", "--socket"
# Options by their order of comparison: word, whether a word follows.
_OPTIONS: tuple[tuple[str, bool], ...] = (
    ("-stats", False),
    ("-statistics", False),
    ("-details", False),
    ("-raw", False),
    ("-pretty", False),
    ("-graph", False),
    ("-Version", False),
    ("-iec", False),
    ("-help", False),
    ("-force", False),
    ("-batch", True),
    ("-netns", True),
    ("-Numeric", False),
    ("-names", False),
    ("-nm", False),
    ("-cf", True),
    ("-conf", True),
    ("-color", False),
    ("-timestamp", False),
    ("-tshort", False),
    ("-json", False),
    ("-oneline", False),
    ("-brief", False),
)


_DONE_HERE = ("-batch", "-netns")  # before the real tool is run, if it is


@dataclass(frozen=True, slots=True, kw_only=True)
class TcCommand:
    """A command line of `tc`: `options` as the real tool gets them, `words` from the object on.

    `named` has each known option with the word behind it, the last one of equals.
    """

    options: tuple[str, ...]
    named: dict[str, str]
    words: tuple[str, ...]
    direct: bool
    socket: str


def parse_options(argv: Sequence[str]) -> TcCommand:
    """Take the options off a command line; one that `tc` does not know is left to it. Raises UsageError."""
    words, named, options = Words(argv), dict[str, str](), list[str]()
    direct, socket = False, ""
    while words.peek().startswith("-"):
        word = words.take()
        if word == _DIRECT:
            direct = True
        elif word == _SOCKET:
            socket = words.take()
        else:
            name, following = next((o for o in _OPTIONS if matches(word, o[0])), (word, False))
            named[name] = words.take() if following else ""
            if name not in _DONE_HERE:
                options += [word, named[name]] if following else [word]
    return TcCommand(options=tuple(options), named=named, words=words.rest(), direct=direct, socket=socket)
