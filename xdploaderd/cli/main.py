"""Entry of xdploaderctl: parse the arguments, run one verb, tell its errors; each group of verbs is imported on use."""

import argparse
import sys
from collections.abc import Sequence

from xdploaderd.cli import output
from xdploaderd.cli.arguments import parse_arguments
from xdploaderd.errors import LoaderError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 3 degraded or partial, or the error's own."""
    words = sys.argv[1:] if argv is None else argv
    try:
        args = parse_arguments(words)
    except UsageError as error:
        output.print_error(error, as_json="--json" in words, verbose=False)
        return output.EXIT_COMMAND_LINE
    try:
        return _run(args)
    except KeyboardInterrupt:
        output.print_note("interrupted")
        return output.EXIT_INTERRUPTED
    except BrokenPipeError:
        output.discard_output()
        return output.EXIT_BROKEN_PIPE


def _run(args: argparse.Namespace) -> int:
    try:
        status: int = args.run(args)
    except LoaderError as error:
        output.print_error(error, as_json=args.json, verbose=args.verbose)
        return error.exit_status
    return status


if __name__ == "__main__":
    sys.exit(main())
