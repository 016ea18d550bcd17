"""CO-RE against libbpf: the same specs, verdicts on candidates, instructions and refusals."""

import os
from pathlib import Path

import pytest

from tests.support import libbpf_core
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import PreparedObject, TargetKernel
from xdploaderd.relo_core.decision import CoreDecision
from xdploaderd.uapi.bpf import Feature

pytestmark = pytest.mark.oracle

OBJECTS = Path(__file__).parent.parent / "bpf" / "core"
VMLINUX = Path("/sys/kernel/btf/vmlinux")
PAIRS = [("fields", OBJECTS / "fields.target.o"), ("types", OBJECTS / "types.target.o"), ("kernel", None)]
REFUSED = (
    "ambiguous_offset",
    "ambiguous_size",
    "ambiguous_existence",
    "ambiguous_id",
    "far_load",
    "unreadable_bits",
    "load_of_16_bytes",
    "unsigned_top",
)
ACCEPTED = ("ok_same_offset", "ok_type_exists", "ok_far_as_number")


def target_types(path: Path | None) -> Btf:
    if path is None:
        return Btf.parse(VMLINUX.read_bytes(), name="vmlinux", trusted=True)
    section = ElfImage.parse(path.read_bytes(), name=path.name).section(".BTF")
    assert section
    return Btf.parse(bytes(section.data()), name=path.name)


def prepared(name: str, target: Path | None, *, partial: bool = False) -> PreparedObject:
    path = OBJECTS / f"{name}.local.o"
    kernel = TargetKernel(
        release=os.uname().release,
        version_code=0,
        btfs=(target_types(target),),
        features=frozenset(Feature),
        custom_btf=target is not None,
    )
    return prepare(open_object(path.read_bytes(), name=path.name), kernel, partial=partial)


def as_logged(decision: CoreDecision) -> list[str]:
    """Return the lines of libbpf's log on the specs; of a candidate that does not match, only which it is.

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


def shortened(line: str) -> str:
    return line.split(" <", maxsplit=1)[0] if line.startswith("non-matching") else line


def is_about_specs(line: str) -> bool:
    return line.startswith(("<", "matching", "non-matching", "no matching"))


@pytest.mark.parametrize(("name", "target"), PAIRS, ids=[name for name, _ in PAIRS])
def test_instructions_are_those_of_libbpf(name: str, target: Path | None) -> None:
    ours = prepared(name, target)
    theirs = libbpf_core.relocate(OBJECTS / f"{name}.local.o", target)
    assert theirs.relocated
    assert {program: prepared.insns for program, prepared in ours.programs.items()} == theirs.insns


@pytest.mark.parametrize(("name", "target"), PAIRS, ids=[name for name, _ in PAIRS])
def test_specs_and_verdicts_are_those_of_libbpf(name: str, target: Path | None) -> None:
    ours = prepared(name, target).core_log
    theirs = libbpf_core.relocate(OBJECTS / f"{name}.local.o", target).log
    assert len(ours) == len(theirs) > 50
    for decision in ours:
        logged = [shortened(line) for line in theirs[decision.program, decision.number] if is_about_specs(line)]
        assert logged == as_logged(decision)


def test_all_thirteen_kinds_are_compared() -> None:
    kinds = {decision.kind for name, target in PAIRS for decision in prepared(name, target).core_log}
    assert len(kinds) == 13


@pytest.mark.parametrize("program", [*REFUSED, *ACCEPTED])
def test_what_libbpf_refuses_is_refused(program: str) -> None:
    target = OBJECTS / "refused.target.o"
    theirs = libbpf_core.relocate(OBJECTS / "refused.local.o", target, only=program)
    ours = prepared("refused", target, partial=True)
    assert theirs.relocated is (program in ACCEPTED)
    assert (program in ours.programs) is theirs.relocated
    if theirs.relocated:
        assert ours.programs[program].insns == theirs.insns[program]
