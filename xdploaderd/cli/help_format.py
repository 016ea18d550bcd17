"""How argparse lays out help: as it does by itself, without two modules that it imports for that."""

import argparse
import functools

from xdploaderd.cli.help_width import help_width, wrapped


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps the help of an option between words; textwrap, which argparse takes, compiles expressions as it starts."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(text, width)


_width = functools.cache(help_width)


def formatter(prog: str) -> argparse.HelpFormatter:
    """Return a formatter for this terminal; argparse makes one for each option, and by itself imports shutil for it."""
    return _Formatter(prog, width=_width())
