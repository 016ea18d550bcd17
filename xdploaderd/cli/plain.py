"""The verbs that take no arguments: read without argparse, which takes longer to import than most of them run."""

from __future__ import annotations

import gc
from importlib import import_module

from xdploaderd import __version__
from xdploaderd.cli.output import PROGRAM, print_json, print_line

TYPE_CHECKING = False  # what is imported for annotations alone takes as long again
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Run = Callable[[Any], int]

# The functions of cli/online.py by verb.
ONLINE = {"status": "status", "list": "list_attachments", "reload": "reload", "plan": "plan"}
_VERSION = "version"


class PlainArguments:
    """What argparse's namespace holds for such a verb."""

    __slots__ = ("json", "run", "socket", "verbose")
    run: Run

    def __init__(self) -> None:
        self.json = False
        self.verbose = False
        self.socket: str | None = None


def plain_arguments(words: Sequence[str]) -> PlainArguments | None:
    """Return the arguments of a right command line of a plain verb, None for any other: argparse knows what to say."""
    args, verb = PlainArguments(), ""
    left = iter(words)
    for word in left:
        if not verb and (word in ONLINE or word == _VERSION):
            verb = word
        elif not _take_option(args, word, left, with_socket=verb != _VERSION):
            return None
    if not verb:
        return None
    args.run = version if verb == _VERSION else lazy("online", ONLINE[verb])
    return args


def _take_option(args: PlainArguments, word: str, left: Iterator[str], *, with_socket: bool) -> bool:
    """Take an option that all of them have; False where it is none, or is not right."""
    if word == "--json":
        args.json = True
    elif word == "--verbose":
        args.verbose = True
    elif word == "--socket" and with_socket:
        args.socket = next(left, "-")
        return not args.socket.startswith("-")
    else:
        return False
    return True


def lazy(module: str, verb: str) -> Run:
    """Return the verb's function of a module of this package, which is imported when it runs."""

    def run(args: Any) -> int:
        function: Run = getattr(import_module(f"xdploaderd.cli.{module}"), verb)
        if not gc.isenabled():
            gc.freeze()  # what was imported stays to the end, and is not looked at again
            gc.enable()
        return function(args)

    return run


def version(args: Any) -> int:
    """Print the version of this command."""
    if args.json:
        print_json({"version": __version__})
    else:
        print_line(f"{PROGRAM} {__version__}")
    return 0
