"""The verbs that put a configuration in force: `reload`, and `apply`, which is the same by its other name."""

import argparse
from collections.abc import Callable
from typing import Protocol

from xdploaderd.cli.plain import lazy

_APPLY = """\
Read the configuration again and do what it wants, as one change. Every object is prepared and every program loaded
before the first one is attached; where anything fails, all stays or becomes as it was.
"""


class AddsVerbs(Protocol):
    """What verbs are added to."""

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], text: str, *, online: bool
    ) -> argparse.ArgumentParser: ...


def apply_verb(verbs: AddsVerbs, name: str) -> None:
    """Add the verb to the command line."""
    parser = verbs.add(name, lazy("online", "reload"), _APPLY, online=True)
    parser.add_argument("--partial", action="store_true", help="every entry by itself: bad ones stop no other")
