"""What a verb is declared to: argparse's parsers (cli/arguments.py), or a page of help (cli/help_page.py).

For annotations alone; typing takes as long to import as all that a short command needs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

Run = Callable[[Any], int]


class TakesOptions(Protocol):
    """A group of options that exclude each other; the words are those of argparse."""

    def add_argument(  # noqa: PLR0913 - as argparse has it
        self,
        *flags: str,
        action: str = ...,
        nargs: str | None = ...,
        default: Any = ...,
        type: Callable[[str], Any] = ...,
        choices: Sequence[str] | None = ...,
        required: bool = ...,
        help: str | None = ...,
        metavar: str | None = ...,
        dest: str | None = ...,
    ) -> Any: ...


class Options(TakesOptions, Protocol):
    """The operands and options of one verb; `check` looks at what was given, once all of it is known."""

    def add_mutually_exclusive_group(self) -> TakesOptions: ...
    def set_defaults(self, *, check: Callable[[Any], None]) -> None: ...
    def error(self, message: str) -> NoReturn: ...


class Verbs(Protocol):
    """Verbs of one command; the first sentence of a text is the verb's line in the list of them."""

    def add(self, name: str, run: Run, text: str, *, epilog: str = ..., online: bool = ...) -> Options: ...
