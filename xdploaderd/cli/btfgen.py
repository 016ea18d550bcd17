"""Verb btfgen: the part of kernels' BTF that objects need, for hosts whose kernel has none; no privilege, no bpf(2)."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from xdploaderd.btf.codec import Btf
from xdploaderd.cli.named_values import limits_of
from xdploaderd.cli.output import EXIT_DEGRADED, print_error, print_json, print_line, print_note
from xdploaderd.daemon.object_file import read_object
from xdploaderd.errors import FileError, LoaderError, UsageError, error_context
from xdploaderd.kernel.btf_file import kernel_types, read_btf_file
from xdploaderd.kernel.btf_search import btf_files
from xdploaderd.limits import Limits
from xdploaderd.obj.btf_sections import CoreObject, read_core_object
from xdploaderd.obj.minimize import minimize
from xdploaderd.printable import quoted

_SUFFIX = ".btf"


@dataclass(frozen=True, slots=True)
class Minimised:
    """One blob cut down: where it came from and went, bytes before and after, and how many types are left."""

    btf: str
    output: str
    size_before: int
    size: int
    types: int


def btfgen(args: argparse.Namespace) -> int:
    """Write a minimised BTF for one kernel, or for each of a directory; 3 when some of a directory's failed."""
    objects = [_open(name, limits_of(args)) for name in args.objects]
    source, output = Path(args.btf), Path(args.output)
    if not source.is_dir():
        done = [_minimise_file(source, output, objects)]
        failed = 0
    else:
        done, failed = _minimise_directory(source, output, objects, args)
    if args.json:
        print_json({"minimised": [asdict(row) for row in done], "failed": failed})
        return EXIT_DEGRADED if failed else 0
    for row in done:
        print_line(f"{row.btf} -> {row.output}: {row.size_before} -> {row.size} bytes, {row.types} types")
    return EXIT_DEGRADED if failed else 0


def _open(name: str, limits: Limits) -> CoreObject:
    path = PurePosixPath(name)
    return read_core_object(read_object(path, limits), name=path.name, limits=limits)


def _minimise_directory(
    source: Path, output: Path, objects: Sequence[CoreObject], args: argparse.Namespace
) -> tuple[list[Minimised], int]:
    files = btf_files(source)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{quoted(str(output))} is no directory, and the BTF of a directory goes into one")
    done: list[Minimised] = []
    failed = 0
    for number, file in enumerate(files, 1):
        _tell_progress(number, len(files), file)
        try:
            done.append(_minimise_file(file, output / _output_name(file.relative_to(source)), objects))
        except LoaderError as error:
            failed += 1
            print_error(error, as_json=args.json, verbose=args.verbose)
    return done, failed


def _output_name(file: Path) -> Path:
    """Return the name of the result: a kernel image or an archive becomes a plain file *.btf."""
    name = file.name.removesuffix(".tar.xz")
    return file.with_name(name if name.endswith(_SUFFIX) else name + _SUFFIX)


def _minimise_file(source: Path, output: Path, objects: Sequence[CoreObject]) -> Minimised:
    raw = read_btf_file(source)
    with error_context(quoted(str(source))):
        left = minimize(kernel_types(raw, name=source.name), objects)
    _write(output, left)
    types = len(Btf.parse(left, name=output.name)) - 1
    return Minimised(str(source), str(output), len(raw), len(left), types)


def _write(path: Path, content: bytes) -> None:
    """Put a whole file in place or none; raises FileError."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        with new.open("xb") as file, ExitStack() as undo:
            undo.callback(new.unlink)
            file.write(content)
            file.flush()
            new.replace(path)
            undo.pop_all()
    except FileExistsError:
        raise FileError(f"cannot write {quoted(str(path))}: {quoted(str(path.parent))} is no directory") from None
    except OSError as error:
        raise FileError(f"cannot write {quoted(str(path))}: {os.strerror(error.errno or 0).lower()}") from None


def _tell_progress(number: int, count: int, file: Path) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        print_note(f"{number} of {count}: {file}")
