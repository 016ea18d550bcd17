"""Verbs of xdploaderctl: parse the arguments, run one verb, tell its errors; each group of verbs is imported on use."""

from __future__ import annotations

from xdploaderd.cli import output
from xdploaderd.cli.plain import plain_arguments
from xdploaderd.cli.plain_files import file_arguments
from xdploaderd.errors import LoaderError, UsageError
from xdploaderd.terminal import discard_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import SimpleNamespace

    from xdploaderd.cli.plain import PlainArguments


def run_verb(words: Sequence[str]) -> int:
    """Run the command line and return its exit status: 0, 3 degraded or partial, or the error's own."""
    try:
        args = plain_arguments(words) or file_arguments(words) or _help(words) or _parsed(words)
    except UsageError as error:
        output.print_error(error, as_json="--json" in words, verbose=False)
        return output.EXIT_COMMAND_LINE
    try:
        return _run(args)
    except KeyboardInterrupt:
        output.print_note("interrupted")
        return output.EXIT_INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return output.EXIT_BROKEN_PIPE


def _help(words: Sequence[str]) -> SimpleNamespace | None:
    if words[-1:] not in (["-h"], ["--help"]):
        return None
    from xdploaderd.cli.help_page import help_arguments

    return help_arguments(words)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    from xdploaderd.cli.arguments import parse_arguments

    return parse_arguments(words)


def _run(args: argparse.Namespace | PlainArguments | SimpleNamespace) -> int:
    try:
        status: int = args.run(args)
    except LoaderError as error:
        output.print_error(error, as_json=args.json, verbose=args.verbose)
        return error.exit_status
    return status
