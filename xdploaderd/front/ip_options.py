"""The options before the object of `ip`, and our own: --direct and --socket PATH.

Mirrors main of iproute2 ip/ip.c: options are compared in its order, since each may be abbreviated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xdploaderd.front.words import Words, matches

_DIRECT, _SOCKET = "--direct", "--socket"
_NOT_PASSED = ("-batch", "-netns")
# Options by their order of comparison: word, whether it may be abbreviated, whether a word follows.
_OPTIONS: tuple[tuple[str, bool, bool], ...] = (
    ("-loops", True, True),
    ("-family", True, True),
    ("-4", False, False),
    ("-6", False, False),
    ("-0", False, False),
    ("-M", False, False),
    ("-B", False, False),
    ("-human-readable", True, False),
    ("-iec", True, False),
    ("-stats", True, False),
    ("-statistics", True, False),
    ("-details", True, False),
    ("-resolve", True, False),
    ("-oneline", True, False),
    ("-timestamp", True, False),
    ("-tshort", True, False),
    ("-Version", True, False),
    ("-force", True, False),
    ("-batch", True, True),
    ("-brief", True, False),
    ("-json", True, False),
    ("-pretty", True, False),
    ("-rcvbuf", True, True),
    ("-color", True, False),
    ("-help", True, False),
    ("-netns", True, True),
    ("-Numeric", True, False),
    ("-all", True, False),
    ("-echo", False, False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IpCommand:
    """A command line of `ip`: `words` from the object on, `named` each option with the word behind it.

    `options` are for the real tool: all but the batch file and the namespace, which is entered for it.
    """

    options: tuple[str, ...]
    named: dict[str, str]
    words: tuple[str, ...]
    direct: bool
    socket: str

    @property
    def batch(self) -> str:
        """The batch file, or empty."""
        return self.named.get("-batch", "")

    @property
    def netns(self) -> str:
        """The named network namespace to act in, or empty."""
        return self.named.get("-netns", "")

    @property
    def force(self) -> bool:
        """Whether what is there may be replaced."""
        return "-force" in self.named


def parse_options(argv: Sequence[str]) -> IpCommand:
    """Take the options off a command line; one that `ip` does not know is left to it. Raises UsageError."""
    words, named, options = Words(argv), dict[str, str](), list[str]()
    direct, socket = False, ""
    while words.peek().startswith("-"):
        word = words.take()
        if word == "--":
            break
        if word == _DIRECT:
            direct = True
        elif word == _SOCKET:
            socket = words.take()
        else:
            name, argument = _option(word, words)
            named[name] = argument
            if name not in _NOT_PASSED:
                options += [word, argument] if argument else [word]
    return IpCommand(options=tuple(options), named=named, words=words.rest(), direct=direct, socket=socket)


def _option(word: str, words: Words) -> tuple[str, str]:
    bare = word[1:] if word.startswith("--") else word
    for name, short, following in _OPTIONS:
        if matches(bare, name) if short else bare == name:
            return name, words.take() if following else ""
    return bare, ""
