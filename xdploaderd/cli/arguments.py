"""The command line of xdploaderctl, taken apart by argparse."""

from __future__ import annotations

import argparse

from xdploaderd import __version__
from xdploaderd.cli import map_options, texts
from xdploaderd.cli.help_format import formatter
from xdploaderd.cli.output import PROGRAM
from xdploaderd.cli.plain import lazy
from xdploaderd.cli.shared_options import add_common
from xdploaderd.cli.verb_table import VERBS, declare
from xdploaderd.errors import UsageError

TYPE_CHECKING = False  # typing takes as long to import as all of this package
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from xdploaderd.cli.declared import Run, Verbs


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are like all others: one line with a code."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments, `run` being the verb's function. Raises UsageError."""
    args = _build_parser(_verb_of(argv)).parse_args(argv)
    args.check(args)
    return args


def _verb_of(argv: Sequence[str]) -> str:
    """Return the verb of a command line, empty where that takes a whole parser to tell."""
    words = iter(argv)
    for word in words:
        if word == "--socket":
            next(words, "")
        elif not word.startswith(("--json", "--verbose", "--socket=")):
            return word if word in VERBS else ""
    return ""


def _build_parser(verb: str) -> _Parser:
    """Return the parser with this verb, or, since making them all takes longer than most verbs run, with all."""
    parser = _Parser(
        prog=PROGRAM,
        description="Load, attach and look at XDP and tc BPF programs.",
        epilog=texts.EPILOG,
        formatter_class=formatter,
        allow_abbrev=False,
    )
    add_common(parser, online=True)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.set_defaults(json=False, verbose=False, socket=None, check=lambda _args: None)
    verbs = _ParsedVerbs(parser.add_subparsers(title="verbs", metavar="VERB", required=True, prog=PROGRAM))
    for name in (verb,) if verb else VERBS:
        declare(verbs, name)
    return parser


class _ParsedVerbs:
    """The verbs of the command, or of `map`, each with the common options."""

    def __init__(self, subparsers: argparse._SubParsersAction[_Parser]) -> None:
        self._subparsers = subparsers

    def add(self, name: str, run: Run, text: str, *, epilog: str = "", online: bool = False) -> _Parser:
        """Add one verb; the first sentence of its text is its line in the list of verbs."""
        first = text.replace("\n", " ").split(". ")[0].split(": ")[0].strip().removesuffix(".")
        parser = self._subparsers.add_parser(
            name,
            help=first[:1].lower() + first[1:],
            description=text,
            epilog=epilog,
            formatter_class=formatter,
            allow_abbrev=False,
        )
        # The options may stand before the verb too: without a default here, this place does not reset the other.
        add_common(parser, online=online, default=argparse.SUPPRESS)
        parser.set_defaults(run=run)
        return parser


def map_verb(verbs: Verbs, name: str) -> None:
    """Declare `map` with its actions."""
    parser = verbs.add(name, lazy("maps", "dump"), map_options.MAP, epilog=map_options.MAP_EPILOG)
    if not isinstance(parser, _Parser):
        raise TypeError("a page of help has no verbs below its own")
    actions = _ParsedVerbs(parser.add_subparsers(metavar="ACTION", required=True))
    for action, text in map_options.MAP_ACTIONS.items():
        run = lazy("maps", map_options.function_of(action))
        map_options.add_map_arguments(action, actions.add(action, run, text, online=True))
