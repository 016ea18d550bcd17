"""Verb core-diff: which CO-RE records of an object come to something else on another kernel; no bpf(2) call."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from xdploaderd.cli.named_values import limits_of
from xdploaderd.cli.objects import open_named
from xdploaderd.cli.output import print_json, print_line
from xdploaderd.errors import UsageError, error_context
from xdploaderd.kernel.known import target_from_file
from xdploaderd.obj.core_record import CoreDifference, Json, core_differences
from xdploaderd.obj.relocate_core import relocate_core
from xdploaderd.obj.spec import FunctionSpec, ObjectSpec
from xdploaderd.printable import quoted
from xdploaderd.relo_core.decision import CoreDecision, CoreFailure

EXIT_DIFFERENT = 1  # as diff(1) has it
_KERNELS = 2


def core_diff(args: argparse.Namespace) -> int:
    """Print what differs between two kernels; 1 when something does."""
    if len(args.btf) != _KERNELS:
        raise UsageError(f"--btf is given {len(args.btf)} times, want the two kernels to compare")
    obj = open_named(args.object, limits_of(args))
    one, other = (_records(obj, Path(name)) for name in args.btf)
    differences = list(core_differences(obj, one, other))
    if args.json:
        kernels = dict(zip(("one", "other"), args.btf, strict=True))
        print_json(
            {"object": args.object, **kernels, "records": len(one), "differences": list(map(asdict, differences))}
        )
    else:
        for difference in differences:
            for line in _lines(difference, args.btf):
                print_line(line)
        print_line(f"{len(differences)} of {len(one)} CO-RE records differ")
    return EXIT_DIFFERENT if differences else 0


def _records(obj: ObjectSpec, btf: Path) -> list[CoreDecision | CoreFailure]:
    with error_context(quoted(str(btf))):
        core = relocate_core(obj, target_from_file(btf), locate=_nowhere)
    return [*core.decisions, *core.failures]


def _nowhere(_function: FunctionSpec, _insn_idx: int) -> str:
    """Add no place to the errors of records: the record says all of it."""
    return ""


def _lines(difference: CoreDifference, kernels: list[str]) -> Iterator[str]:
    entry = difference.one or difference.other or {}
    local = entry["local"]["spec"] if entry["local"] else f"<{entry['kind']}>"
    source = f" ({entry['source']})" if entry["source"] else ""
    yield f"prog {quoted(entry['program'])}: relo #{difference.number}: insn #{entry['insn_idx']}{source}: {local}"
    for kernel, side in zip(kernels, (difference.one, difference.other), strict=True):
        yield f"  {kernel}: {_outcome(side)}"


def _outcome(entry: Json | None) -> str:
    if entry is None:
        return "not reached"
    if entry["error"]:
        return f"refused: {entry['error']}"
    if entry["poisoned"]:
        return "poisoned, no candidate matches"
    target = f" by {entry['target']['spec']}" if entry["target"] else ", no candidate matches"
    return f"{entry['new_value']}{target}"
