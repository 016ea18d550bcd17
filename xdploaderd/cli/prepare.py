"""`prepare`: what can be said of objects in kernels without privilege, for one pair or a matrix."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from xdploaderd.cli.named_values import limits_of
from xdploaderd.cli.objects import parse_types
from xdploaderd.cli.output import print_json
from xdploaderd.cli.prepare_output import as_json, print_matrix, print_report
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.errors import LoaderError, NoSuchProgramError, UsageError
from xdploaderd.kernel.btf_search import btf_files, kernel_name
from xdploaderd.kernel.known import GivenFacts, installed_kernel, kernel_of_file
from xdploaderd.obj.open import open_object
from xdploaderd.obj.select import select_programs
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.printable import quoted
from xdploaderd.verdict.model import Check, Subject, Verdict, overall
from xdploaderd.verdict.report import KernelUnderTest, Report, failed_check, make_report

EXIT_OF = {Verdict.HOLDS: 0, Verdict.FAILS: 1, Verdict.UNKNOWN: 3}


@dataclass(frozen=True, slots=True)
class _Opened:
    """An object by the name the user gave, or the check that it is none."""

    name: str
    opened: ObjectSpec | Check


def prepare(args: argparse.Namespace) -> int:
    """Check every object against every kernel; exit 0 when all holds, 1 when something fails, 3 for only unknowns."""
    sources = _kernel_files(args)
    pairs = len(args.object) * max(len(sources), 1)
    _refuse_impossible(args, len(sources), pairs)
    objects = [_open(path, args) for path in args.object]
    reports: list[Report] = []
    for number, source in enumerate(sources or [None]):
        _show_progress(f"kernel {number + 1} of {len(sources)}: {source}" if pairs > 1 else "")
        made = _reports(objects, source, args, alone=pairs == 1)
        reports += (
            made
            if args.dump_insns or args.core_log or pairs == 1
            else [replace(report, prepared=None) for report in made]
        )
    _show_progress("")
    if args.json:
        print_json(as_json(reports, dump=args.dump_insns, records=args.core_log or pairs == 1))
    elif pairs > 1:
        print_matrix(reports)
    else:
        print_report(reports[0], dump=args.dump_insns, records=args.core_log)
    return EXIT_OF[overall(report.verdict for report in reports)]


def _show_progress(text: str) -> None:
    """Overwrite the terminal's last line; nothing where standard error is none."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{ascii(text)[1:-1]}" if text else "\r\x1b[K")
        sys.stderr.flush()


def _open(path: str, args: argparse.Namespace) -> _Opened:
    """Open an object; one that is malformed fails a check, one that cannot be read is an error."""
    limits = limits_of(args)
    raw, types = read_object(PurePosixPath(path), limits), parse_types(args.type)
    try:
        obj = open_object(raw, name=PurePosixPath(path).name, limits=limits)
        return _Opened(path, select_programs(obj, types=types, names=args.program))
    except NoSuchProgramError:
        raise
    except LoaderError as error:
        return _Opened(path, failed_check(path, "form", error))


def _reports(objects: Sequence[_Opened], source: Path | None, args: argparse.Namespace, *, alone: bool) -> list[Report]:
    """Return the reports of all objects on one kernel; a kernel that cannot be read is an error only when alone."""
    try:
        kernel = _kernel(source, args)
    except LoaderError as error:
        if alone or source is None:
            raise
        return [_without_kernel(each.name, _name_of(source, args), error) for each in objects]
    return [_report(each, kernel) for each in objects]


def _report(each: _Opened, kernel: KernelUnderTest) -> Report:
    if isinstance(each.opened, Check):
        return Report(object=each.name, kernel=kernel.name, checks=(each.opened,))
    return replace(make_report(each.opened, kernel), object=each.name)


def _without_kernel(name: str, kernel: str, error: LoaderError) -> Report:
    check = Check(
        subject=Subject.OBJECT, name=name, check="kernel", verdict=Verdict.UNKNOWN, reason=f"{error.code}: {error}"
    )
    return Report(object=name, kernel=kernel, checks=(check,))


def _refuse_impossible(args: argparse.Namespace, kernels: int, pairs: int) -> None:
    if kernels > 1 and (args.kconfig or args.kallsyms or args.release or args.module_btf):
        raise UsageError("--kconfig, --kallsyms, --release and --module-btf are facts of one kernel, want one --btf")
    if (args.dump_insns or args.core_log) and pairs > 1 and not args.json:
        raise UsageError("--dump-insns and --core-log of several objects or kernels are printed with --json only")


def _kernel_files(args: argparse.Namespace) -> Sequence[Path]:
    """Return the BTF files named or found; none: the kernel of this machine is meant."""
    found = [path for name in args.btf_dir for path in btf_files(Path(name))]
    return [*(Path(name) for name in args.btf), *found]


def _kernel(source: Path | None, args: argparse.Namespace) -> KernelUnderTest:
    given = GivenFacts(
        release=args.release or "",
        kconfig=Path(args.kconfig) if args.kconfig else None,
        kallsyms=Path(args.kallsyms) if args.kallsyms else None,
        modules=[_module(word) for word in args.module_btf],
    )
    return installed_kernel(given) if source is None else kernel_of_file(source, given, name=_name_of(source, args))


def _name_of(source: Path, args: argparse.Namespace) -> str:
    """Return what a kernel is called: the release of its file's name, below --btf-dir after the folders in between."""
    root = next((name for name in args.btf_dir if source.is_relative_to(name)), None)
    if root is not None:
        inside = str(source.relative_to(root).parent / kernel_name(source))
        return inside if len(args.btf_dir) == 1 else str(Path(root) / inside)
    name = kernel_name(source)
    alike = sum(kernel_name(Path(path)) == name for path in args.btf)
    return name if alike == 1 else str(source)


def _module(word: str) -> tuple[str, Path]:
    """Return name and file of --module-btf [NAME=]FILE; without a name, the module's is that of its file."""
    name, equals, path = word.partition("=")
    if not equals:
        name, path = PurePosixPath(word).name.split(".")[0].replace("-", "_"), word
    if not name or not path:
        raise UsageError(f"--module-btf {quoted(word)} is not of the form NAME=FILE")
    return name, Path(path)
