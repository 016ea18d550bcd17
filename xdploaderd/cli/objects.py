"""What every verb that takes an object does first: read the file, open it, settle its programs' types."""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from xdploaderd.cli.named_values import limits_of, parse_count, parse_pairs
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.entries_file import read_document
from xdploaderd.daemon.object_file import read_object
from xdploaderd.errors import UsageError
from xdploaderd.hooks import OnMismatch
from xdploaderd.limits import Limits
from xdploaderd.load.maps import MapRules
from xdploaderd.load.pinning_files import PINNING_CONF, read_pinning
from xdploaderd.obj.open import open_object
from xdploaderd.obj.overrides import leave_out_maps, set_globals, set_max_entries, share_maps
from xdploaderd.obj.select import find_program, select_programs
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import ProgType

_SHORT_NAMES = {"tc": ProgType.SCHED_CLS, "classifier": ProgType.SCHED_CLS, "action": ProgType.SCHED_ACT}


def open_selected(args: argparse.Namespace, *, names: Sequence[str] = ()) -> ObjectSpec:
    """Return the object named on the command line with the types and programs that were asked for."""
    return select_programs(open_named(args.object, limits_of(args)), types=parse_types(args.type), names=names)


def open_named(name: str, limits: Limits) -> ObjectSpec:
    """Return the object of that path."""
    path = PurePosixPath(name)
    return open_object(read_object(path, limits), name=path.name, limits=limits)


def pinning_of(args: argparse.Namespace) -> PinningConf:
    """Return the pinning configuration: that of --pinning, else the system's."""
    return read_pinning(Path(args.pinning) if args.pinning else PINNING_CONF)


def apply_overrides(obj: ObjectSpec, args: argparse.Namespace) -> ObjectSpec:
    """Return the object with what --global, --max-entries, --share and --no-map set in it."""
    pairs = parse_pairs("--max-entries", "MAP=N", args.max_entries)
    sizes = {name: parse_count("--max-entries", name, size) for name, size in pairs.items()}
    obj = set_globals(obj, parse_pairs("--global", "NAME=VALUE", args.globals))
    obj = share_maps(set_max_entries(obj, sizes), parse_pairs("--share", "MAP=PIN", args.share))
    return leave_out_maps(obj, args.no_map)


def map_rules(args: argparse.Namespace) -> MapRules:
    """Return what --map-init, its files read, and --on-mismatch want of the object's maps."""
    files = parse_pairs("--map-init", "MAP=FILE", args.map_init)
    limits = limits_of(args)
    init = {name: read_document(PurePosixPath(file), limits) for name, file in files.items()}
    return MapRules(init=init, on_mismatch=OnMismatch(args.on_mismatch or OnMismatch.REFUSE))


def with_attach_targets(obj: ObjectSpec, words: Sequence[str]) -> tuple[ObjectSpec, Mapping[str, PurePosixPath]]:
    """Return the object with the functions that `--attach-target [PROG=]PIN[:FUNC]` names, and the pins by program.

    Without PROG it is for every freplace program. UsageError for no path, NoSuchProgramError for no program.
    """
    programs, pins = dict(obj.programs), dict[str, PurePosixPath]()
    for word in words:
        name, _, target = word.rpartition("=")
        pin, colon, function = target.rpartition(":") if ":" in target.rpartition("/")[2] else (target, "", "")
        if not pin.startswith("/") or (colon and not function):
            raise UsageError(f"--attach-target {quoted(word)} is not of the form [PROG=]PIN[:FUNC], PIN a path")
        extensions = [p.name for p in programs.values() if p.type is ProgType.EXT]
        for chosen in [find_program(obj, name).name] if name else extensions:
            if chosen in pins:
                raise UsageError(f"--attach-target is given twice for program {quoted(chosen)}")
            pins[chosen] = PurePosixPath(pin)
            programs[chosen] = replace(programs[chosen], attach_target=function or programs[chosen].attach_target)
        if not name and not extensions:
            raise UsageError("--attach-target: the object has no freplace program, want PROG=PIN")
    return (replace(obj, programs=programs) if pins else obj), pins


def parse_types(words: Sequence[str]) -> Mapping[str, ProgType]:
    """Return the types of `--type [PROG=]TYPE`, keyed by program; ALL_PROGRAMS, the empty key, is for all others."""
    types: dict[str, ProgType] = {}
    for word in words:
        program, _, type_name = word.rpartition("=")
        if program in types:
            whose = f"of program {quoted(program)}" if program else "of all programs"
            raise UsageError(f"the type {whose} is given twice")
        types[program] = _parse_type(type_name)
    return types


def _parse_type(word: str) -> ProgType:
    known = {**_SHORT_NAMES, **{t.name.lower(): t for t in ProgType if t is not ProgType.UNSPEC}}
    name = word.lower().removeprefix("bpf_prog_type_")
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name[:64], known, n=1)
    hint = f"did you mean {quoted(near[0])}?" if near else "want xdp, tc or the kernel's name of a program type"
    raise UsageError(f"unknown program type {quoted(word)}, {hint}")
