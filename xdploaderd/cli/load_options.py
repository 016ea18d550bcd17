"""What the options of verbs that load, or tell of loading, want of an object: values, sizes, pins, attach targets."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from xdploaderd.cli.named_values import limits_of, parse_count, parse_pairs
from xdploaderd.config.pinning import PinningConf
from xdploaderd.daemon.wanted.entries_file import read_document
from xdploaderd.errors import UsageError
from xdploaderd.hooks import OnMismatch
from xdploaderd.load.maps import MapRules
from xdploaderd.load.pinning_files import PINNING_CONF, read_pinning
from xdploaderd.obj.overrides import leave_out_maps, set_globals, set_max_entries, share_maps
from xdploaderd.obj.select import find_program
from xdploaderd.obj.spec import ObjectSpec
from xdploaderd.printable import quoted
from xdploaderd.uapi.bpf import ProgType


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
