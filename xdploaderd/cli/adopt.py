"""`adopt`: let the daemon keep what ip, tc or xdp-loader attached, without touching the running program."""

import argparse
import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from xdploaderd.cli.attached import DISPATCHER, Attached, dispatched_programs, find_attached, has_link, loaded_at
from xdploaderd.cli.online import call
from xdploaderd.cli.output import EXIT_DEGRADED, print_json, print_line
from xdploaderd.daemon.wanted.object_file import read_object
from xdploaderd.errors import LoaderError, UnreachableError
from xdploaderd.hooks import Hook
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.kernel.target import running_kernel
from xdploaderd.load.same import NAME_BYTES, find_same
from xdploaderd.obj.open import open_object
from xdploaderd.uapi.bpf import ProgId

SEARCHED: Final = (".", "/usr/lib/bpf", "/usr/local/lib/bpf", "/usr/lib64/bpf")
MOST_FILES: Final = 256  # looked at in one directory
_DONE = frozenset({"adopted", "would adopt", "ours"})


@dataclass(slots=True)
class _Result:
    """What became of one attached program; the fields of `adopt --json`."""

    found: Attached
    result: str
    reason: str = ""
    object: str = ""
    program: str = ""
    name: str = ""
    behind: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        info = self.found.info
        told = {
            "prog_name": info.name if info else "",
            "prog_tag": info.tag if info else "",
            "loaded_at": loaded_at(info) if info else "",
            "uid": info.created_by_uid if info else None,
            "map_ids": list(info.map_ids) if info else [],
        }
        outcome = {key: getattr(self, key) for key in ("object", "program", "name", "result", "reason")}
        return {**self.found.entry(), "prog_id": self.found.prog_id, **told, **outcome, "behind": list(self.behind)}


def adopt(args: argparse.Namespace) -> int:
    """Take over what is attached; exit 3 when something of it could not be."""
    bpf = Bpf()
    found = asyncio.run(find_attached(args.interface, args.hook, bpf))
    ours = _ours(args)
    results = [_adopt_one(args, one, bpf, ours) for one in found]
    if args.json:
        print_json([result.to_json() for result in results])
    else:
        for result in results:
            _print(result)
        if not results:
            print_line("nothing is attached there")
    return 0 if all(result.result in _DONE for result in results) else EXIT_DEGRADED


def _ours(args: argparse.Namespace) -> Mapping[int, str]:
    """Return the programs that are the daemon's already; without a daemon `--dry-run` goes on."""
    try:
        attachments = call(args, "List")["attachments"]
    except UnreachableError:
        if not args.dry_run:
            raise
        return {}
    return {a["prog_id"]: a["name"] for a in attachments if a["prog_id"]}


def _adopt_one(args: argparse.Namespace, found: Attached, bpf: Bpf, ours: Mapping[int, str]) -> _Result:
    if found.prog_id in ours:
        return _Result(found, "ours", name=ours[found.prog_id])
    if found.info is None:
        reason = "it is classic BPF, which has no object file"
        return _Result(found, "left", "looking at it needs CAP_SYS_ADMIN" if found.prog_id else reason)
    if reason := _hindrance(found, bpf):
        return _Result(found, "left", reason, behind=tuple(dispatched_programs(found, bpf)))
    try:
        return _take_over(args, found, found.info, bpf)
    except LoaderError as error:
        return _Result(found, "failed", f"{error.code}: {error}")


def _hindrance(found: Attached, bpf: Bpf) -> str:
    """Return why a program is not one that an entry could have, empty where it is."""
    if found.info is not None and found.info.name == DISPATCHER:
        behind = ", ".join(dispatched_programs(found, bpf))
        return f"it is a dispatcher of xdp-loader{f', with {behind}' if behind else ''}, which manages it"
    if found.tcx:
        return f"it is attached by {found.tcx}, whose owner keeps it; an entry with `attach: link` can run beside it"
    if found.hook is Hook.XDP and has_link(found, bpf):
        return "it is attached by a bpf_link, whose owner alone can change it"
    return "" if found.direct_action else "the filter is not one with direct-action, which entries have"


def _take_over(args: argparse.Namespace, found: Attached, info: ProgInfo, bpf: Bpf) -> _Result:
    path, program = _find_object(args, found, info, bpf)
    if not path:
        return _Result(found, "left", "its object file is not known: name it with --object")
    if args.dry_run:
        return _Result(found, "would adopt", object=path, program=program, name=args.name)
    return _hand_over(args, found, path, program, bpf)


def _find_object(args: argparse.Namespace, found: Attached, info: ProgInfo, bpf: Bpf) -> tuple[str, str]:
    """Return the object file that has this program, and the program's name in it; empty when there is none."""
    target = partial(running_kernel, bpf)
    if args.object:
        path = os.path.abspath(args.object)
        obj = open_object(read_object(PurePosixPath(path)), name=PurePosixPath(path).name)
        return path, find_same(obj, info, found.hook, bpf, target)
    for file in _candidates(found):
        try:
            obj = open_object(read_object(PurePosixPath(file)), name=file.name)
            if info.name and not any(name[:NAME_BYTES] == info.name for name in obj.programs):
                continue
            return str(file), find_same(obj, info, found.hook, bpf, target)
        except LoaderError:
            continue
    return "", ""


def _candidates(found: Attached) -> Iterator[Path]:
    """Yield object files of the usual directories, the one that a filter's name (FILE:[SECTION]) tells first."""
    told = found.filter_name.partition(":[")[0]
    for directory in map(Path, SEARCHED):
        try:
            files = sorted(directory.glob("*.o"))[:MOST_FILES]
        except OSError:
            continue
        yield from (file.absolute() for file in sorted(files, key=lambda file: file.name != told))


def _hand_over(args: argparse.Namespace, found: Attached, path: str, program: str, bpf: Bpf) -> _Result:
    entry = {**found.entry(), "object": path, "program": program, **({"name": args.name} if args.name else {})}
    with bpf.prog_by_id(ProgId(found.prog_id)) as prog:
        parameters = {"entry": entry, "permanent": not args.runtime, "program": 0}
        reply = call(args, "AttachObject", parameters, descriptors=(prog.fileno(),))["attachment"]
    result = "adopted" if (reply["state"], reply["prog_id"]) == ("attached", found.prog_id) else "failed"
    return _Result(found, result, reply["reason"], object=path, program=program, name=reply["name"])


def _print(result: _Result) -> None:
    found, info = result.found, result.found.info
    place = f"{found.hook} of {found.interface}"
    if found.priority:
        place += f" (priority {found.priority}, handle {found.handle:#x})"
    name = f" {info.name}" if info and info.name else ""
    outcome = f"{result.result} as {result.name}" if result.name else result.result
    print_line(f"{place}: program {found.prog_id}{name}: {outcome}{': ' if result.reason else ''}{result.reason}")
    if info:
        maps = ", ".join(map(str, info.map_ids)) or "none"
        print_line(f"  tag {info.tag}, loaded {loaded_at(info)} by uid {info.created_by_uid}, maps {maps}")
    if result.object:
        print_line(f"  program {result.program} of {result.object}")
