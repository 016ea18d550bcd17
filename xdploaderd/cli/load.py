"""`load` and `unload`: an object into the kernel without the daemon, pinned below one directory."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath

from xdploaderd.cli.load_options import apply_overrides, map_rules, pinning_of, with_attach_targets
from xdploaderd.cli.objects import open_selected
from xdploaderd.cli.output import EXIT_DEGRADED, print_json, print_line, print_table, print_warnings
from xdploaderd.config.pinning import PinningConf
from xdploaderd.errors import LoaderError
from xdploaderd.interrupts import held_signals
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.syscall import checked_before
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load import object as load_object
from xdploaderd.load.attach_targets import open_attach_targets
from xdploaderd.load.maps import MapRules
from xdploaderd.load.object import LoadedObject
from xdploaderd.load.tree import TreePins, load_tree, tree_paths, unload_tree
from xdploaderd.obj.prepare import prepare, target_needs
from xdploaderd.obj.sections import FROM_PREFIX
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import MapType, ProgType, enum_name


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedProgram:
    """One program as `load --json` tells it."""

    name: str
    section: str
    id: int
    type: str
    tag: str
    pins: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedMap:
    """One map as `load --json` tells it."""

    name: str
    id: int
    type: str
    rule: str
    pins: Sequence[str]
    reused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What could not be loaded, as `load --json` tells it."""

    name: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a load did; the fields of `load --json`."""

    object: str
    dialect: str
    why: str
    programs: Sequence[LoadedProgram]
    maps: Sequence[ReportedMap]
    failed: Sequence[Failure]


def load(args: argparse.Namespace) -> int:
    """Load an object and pin what it has; exit 3 when a part failed and was allowed to."""
    obj = apply_overrides(open_selected(args, names=args.program), args)
    pins, rules = pinning_of(args), map_rules(args)
    with held_signals() as check:
        return _load(args, obj, pins, rules, check)


def _load(
    args: argparse.Namespace, obj: ObjectSpec, pins: PinningConf, rules: MapRules, check: Callable[[], None]
) -> int:
    directory = PurePosixPath(args.directory)
    if not args.partial:  # what fails takes no name
        wanted = [program for program in obj.programs.values() if program.autoload]
        tree_paths(wanted, [name for name, spec in obj.maps.items() if spec.autocreate], directory)
    bpf = Bpf(checked_before(check))
    obj, target_pins = with_attach_targets(obj, args.attach_target)
    with ExitStack() as stack:
        targets, btfs = open_attach_targets(bpf, target_pins, stack)
        kernel = replace(running_kernel(bpf, target_needs(obj)), program_btfs=btfs)
        prepared = prepare(obj, kernel, partial=args.partial, whole=not args.program and not args.partial)
        loaded = stack.enter_context(
            load_object.load(prepared, bpf, pins, partial=args.partial, targets=targets, rules=rules)
        )
        report = _report(obj, loaded, load_tree(loaded, bpf, directory))
        check()
        print_warnings((*pins.warnings, *obj.warnings, *_guessed_types(obj), *loaded.warnings), as_json=args.json)
        if args.json:
            print_json(asdict(report))
        else:
            _print_report(report, obj)
        loaded.commit()  # last: who never learned of the pins would not look for them
    return EXIT_DEGRADED if report.failed else 0


def unload(args: argparse.Namespace) -> int:
    """Remove what `load` pinned below a directory."""
    removed = [str(pin) for pin in unload_tree(PurePosixPath(args.directory))]
    if args.json:
        print_json({"removed": removed})
    else:
        for pin in removed:
            print_line(f"removed {pin}")
    return 0


def _report(obj: ObjectSpec, loaded: LoadedObject, tree: TreePins) -> Report:
    return Report(
        object=obj.name,
        dialect=obj.dialect,
        why=obj.why,
        programs=[_program(obj, loaded, tree, name) for name in loaded.programs],
        maps=[_map(loaded, tree, name) for name in loaded.maps],
        failed=list(_failures(loaded.failed)),
    )


def _program(obj: ObjectSpec, loaded: LoadedObject, tree: TreePins, name: str) -> LoadedProgram:
    info = loaded.infos[name]
    return LoadedProgram(
        name=name,
        section=obj.programs[name].section,
        id=info.id,
        type=enum_name(ProgType, info.type),
        tag=info.tag,
        pins=[str(tree.programs[name])],
    )


def _map(loaded: LoadedObject, tree: TreePins, name: str) -> ReportedMap:
    found = loaded.maps[name]
    own_pins = [str(found.pin)] if found.pin else []
    return ReportedMap(
        name=name,
        id=found.info.id,
        type=enum_name(MapType, found.info.type),
        rule=found.spec.rule,
        pins=[*own_pins, str(tree.maps[name])],
        reused=found.reused,
    )


def _failures(failed: Mapping[str, LoaderError]) -> Iterator[Failure]:
    for name, error in failed.items():
        yield Failure(name=name, code=error.code, reason=str(error))


def _guessed_types(obj: ObjectSpec) -> Iterator[str]:
    """Tell which types came from the mere beginning of a section's name, as libbpf before 1.0 took them."""
    for program in obj.programs.values():
        if program.autoload and program.type is not None and program.type_source == FROM_PREFIX:
            kind = enum_name(ProgType, program.type)
            yield f"prog '{program.name}': type {kind} is a guess from section '{program.section}'"


def _why_nothing(obj: ObjectSpec) -> str:
    """Tell why an object has no program to load, and what to do about it."""
    if optional := [quoted(name) for name in obj.programs]:
        return f"{', '.join(optional)} {'is' if len(optional) == 1 else 'are'} loaded on demand: name it by --program"
    if functions := [quoted(function.name) for function in obj.subprograms.values()]:
        which = ", ".join(functions)
        return f'{which} without a section can only be called, want SEC("xdp") or the like before a program'
    return "the object has none"


def _print_report(report: Report, obj: ObjectSpec) -> None:
    print_line(f"object {report.object}: {report.dialect}, {report.why}")
    if report.programs:
        rows = [(p.name, p.section, p.type, str(p.id), p.tag, ", ".join(p.pins)) for p in report.programs]
        print_table(("PROGRAM", "SECTION", "TYPE", "ID", "TAG", "PINS"), rows)
    elif report.failed:
        print_line("no program was loaded")
    else:
        print_line(f"no program was loaded: {_why_nothing(obj)}")
    if report.maps:
        rows_of_maps = [
            (m.name, m.type, str(m.id), "yes" if m.reused else "no", ", ".join(m.pins)) for m in report.maps
        ]
        print_table(("MAP", "TYPE", "ID", "REUSED", "PINS"), rows_of_maps)
    for failure in report.failed:
        print_line(f"not loaded: {failure.name}: {failure.code}: {failure.reason}")
