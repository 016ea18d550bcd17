"""CO-RE decisions of ours beside those of bpftool and libbpf: which lines, and which instructions, are to be equal."""

import functools
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import libbpf_core
from tests.support.libbpf_core import Relocated
from tests.support.tools import bpftool
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.errors import LoaderError
from xdploaderd.insn import INSN_SIZE
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import Dialect, ObjectSpec, PreparedObject, PreparedProgram
from xdploaderd.relo_core.decision import CoreDecision

_RELO_LINE = re.compile(r"libbpf: prog '(?P<prog>.*?)': relo #(?P<number>\d+): (?P<text>.*)")
_SPEC_STARTS = ("<", "matching", "non-matching", "no matching")


@dataclass
class Counts:
    """How many programs, records or objects were equal, and what differed, each with its place."""

    equal: int = 0
    refused: int = 0
    different: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = "".join(f"\n    {text}" for text in (*self.explained, *self.different))
        return f"{self.equal} equal, {self.refused} refused by both, {len(self.different)} different{lines}"


@functools.cache
def core_objects(folder: Path) -> Sequence[tuple[Path, ObjectSpec]]:
    """Return the standard objects of a folder that have CO-RE records; read once, since opening takes the most time."""
    found = []
    for path in sorted(folder.glob("*.o")):
        try:
            obj = open_object(path.read_bytes(), name=path.name)
        except LoaderError:
            continue
        if obj.dialect is Dialect.STANDARD and obj.btf_ext and any(obj.btf_ext.core_relos.values()):
            found.append((path, obj))
    return found


def lines_of(decision: CoreDecision) -> list[str]:
    """Return libbpf's lines on the specs; of a candidate that does not match, only which it is.

    libbpf prints how far it went with such a candidate, and leaves the step on which it failed in its indices.
    """
    lines = [decision.local.text]
    for number, candidate in enumerate(decision.candidates):
        text = candidate.spec.text
        lines.append(
            f"non-matching candidate #{number}" if candidate.mismatch else f"matching candidate #{number} {text}"
        )
    if not decision.target and decision.kind is not CoreReloKind.TYPE_ID_LOCAL:
        lines.append("no matching targets found")
    return lines


def shortened(lines: Sequence[str]) -> list[str]:
    """Return those of libbpf's lines that tell specs, in the same form."""
    return [
        line.split(" <", maxsplit=1)[0] if line.startswith("non-matching") else line
        for line in lines
        if line.startswith(_SPEC_STARTS)
    ]


@dataclass(frozen=True)
class BpftoolLog:
    """What bpftool says on each record, by section and number; `status` is its exit status."""

    status: int
    records: Mapping[tuple[str, int], Sequence[str]]


def bpftool_log(path: Path, btf: Path) -> BpftoolLog:
    """Let bpftool decide every record of an object for a kernel (its BTFGen is libbpf's CO-RE without patching)."""
    done = subprocess.run(
        [bpftool(), "-d", "gen", "min_core_btf", btf, "/dev/null", path], capture_output=True, check=False
    )
    records: dict[tuple[str, int], list[str]] = defaultdict(list)
    for line in (done.stdout + done.stderr).decode(errors="replace").splitlines():
        if match := _RELO_LINE.fullmatch(line):
            records[match["prog"], int(match["number"])].append(match["text"])
    return BpftoolLog(done.returncode, records)


def sections_of(obj: ObjectSpec) -> Mapping[str, str]:
    """Return the section of each function by its name."""
    entries = {name: program.function.section for name, program in obj.programs.items()}
    return entries | {function.name: function.section for function in obj.subprograms.values()}


def same_code(ours: PreparedProgram, theirs: bytes) -> bool:
    """Tell whether two programs are equal but for what stands in for descriptors and kernel symbols."""
    slots = {ref.insn_idx for ref in (*ours.fd_refs, *ours.externs)}
    slots |= {ref.insn_idx + 1 for ref in ours.fd_refs if not getattr(ref, "call", False)}
    slots |= {ref.insn_idx + 1 for ref in ours.externs if not ref.call}
    return _masked(ours.insns, slots) == _masked(theirs, slots)


def _masked(insns: bytes, slots: set[int]) -> bytes:
    out = bytearray(insns)
    for slot in slots:
        out[slot * INSN_SIZE : (slot + 1) * INSN_SIZE] = bytes(INSN_SIZE)
    return bytes(out)


def libbpf_bare(path: Path, btf: Path) -> Relocated | None:
    """Relocate by libbpf without maps; None when it stopped before it came to CO-RE."""
    theirs = libbpf_core.relocate(path, btf, bare=True)
    reached = any(line.startswith("<") for lines in theirs.log.values() for line in lines)
    return theirs if reached else None


def compare_records(path: Path, obj: ObjectSpec, ours: PreparedObject, btf: Path, counts: Counts) -> None:
    """Compare each of our decisions with bpftool's lines."""
    theirs, section = bpftool_log(path, btf), sections_of(obj)
    for decision in ours.core_log:
        lines = shortened(theirs.records.get((section[decision.program], decision.number), ()))
        if lines == lines_of(decision):
            counts.equal += 1
        elif not lines and theirs.status:
            counts.explained.append(f"{path.name}: relo #{decision.number}: bpftool gave up before it")
        else:
            counts.different.append(f"{path.name}: relo #{decision.number}: {lines} != {lines_of(decision)}")
    if theirs.status and ours.core_failures:
        counts.refused += 1
    elif bool(theirs.status) != bool(ours.core_failures):
        counts.different.append(f"{path.name}: bpftool's status {theirs.status}, we refuse {ours.core_failures}")


def compare_code(path: Path, ours: PreparedObject, btf: Path, counts: Counts) -> None:
    """Compare each of our programs with libbpf's."""
    theirs = libbpf_bare(path, btf)
    if theirs is None:
        counts.explained.append(f"{path.name}: libbpf stops before CO-RE")
        return
    if not theirs.relocated:
        kept = "" if ours.core_failures else f"{path.name}: libbpf refuses, we do not"
        counts.refused += not kept
        counts.different += [kept] if kept else []
        return
    for text, equal in _programs(path, ours, theirs):
        counts.equal += equal
        counts.different += [] if equal else [text]


def compare_with_libbpf(path: Path, ours: PreparedObject, target: Path, counts: Counts) -> None:
    """Compare an object of a pair: the lines on every record, then the instructions or the refusal."""
    theirs = libbpf_core.relocate(path, target, bare=True)
    place = f"{path.stem} on {target.stem}"
    if theirs.relocated and not any(theirs.log.values()):
        counts.different.append(f"{place}: libbpf stops before CO-RE")
        return
    for decision in ours.core_log:
        lines = shortened(theirs.log.get((decision.program, decision.number), ()))
        unseen = not lines and not theirs.relocated  # libbpf gave up before this record
        if not unseen and lines != lines_of(decision):
            counts.different.append(f"{place}: relo #{decision.number}: {lines} != {lines_of(decision)}")
    if not theirs.relocated or ours.failed:
        agree = not theirs.relocated and bool(ours.failed)
        counts.refused += agree
        counts.different += [] if agree else [f"{place}: libbpf refuses: {not theirs.relocated}, we: {ours.failed}"]
        return
    for text, equal in _programs(path, ours, theirs):
        counts.equal += equal
        counts.different += [] if equal else [f"{place}: {text}"]


def _programs(path: Path, ours: PreparedObject, theirs: Relocated) -> Iterator[tuple[str, bool]]:
    for name, program in ours.programs.items():
        yield f"{path.name}: program {name}", same_code(program, theirs.insns.get(name, b""))
