"""Verb btfgen for a directory of kernels: a directory of what is left of each, laid out alike."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xdploaderd.cli.btfgen_file import Minimised, minimise_file
from xdploaderd.cli.output import print_error, print_note
from xdploaderd.errors import LoaderError, UsageError
from xdploaderd.kernel.btf_search import btf_files
from xdploaderd.obj.btf_sections import CoreObject
from xdploaderd.printable import quoted

_SUFFIX = ".btf"


def minimise_directory(objects: Sequence[CoreObject], args: argparse.Namespace) -> tuple[list[Minimised], int]:
    """Return what was written, and how many failed, each of which is named on standard error."""
    source, output = Path(args.btf), Path(args.output)
    files = btf_files(source)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{quoted(str(output))} is no directory, and the BTF of a directory goes into one")
    done: list[Minimised] = []
    failed = 0
    for number, file in enumerate(files, 1):
        _tell_progress(number, len(files), file)
        try:
            done.append(minimise_file(str(file), str(output / _output_name(file.relative_to(source))), objects))
        except LoaderError as error:
            failed += 1
            print_error(error, as_json=args.json, verbose=args.verbose)
    return done, failed


def _output_name(file: Path) -> Path:
    """Return the name of the result: a kernel image or an archive becomes a plain file *.btf."""
    name = file.name.removesuffix(".tar.xz")
    return file.with_name(name if name.endswith(_SUFFIX) else name + _SUFFIX)


def _tell_progress(number: int, count: int, file: Path) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        print_note(f"{number} of {count}: {file}")
