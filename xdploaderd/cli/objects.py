"""What every verb that takes an object does first: read the file, open it, settle its programs' types."""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from xdploaderd.cli.named_values import limits_of
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.errors import UsageError
from xdploaderd.limits import Limits
from xdploaderd.obj.open import open_object
from xdploaderd.obj.select import select_programs
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
