"""CO-RE against libbpf: the same specs, verdicts on candidates, instructions and refusals."""

import os
from pathlib import Path

import pytest

from tests.support import libbpf_core
from tests.support.core_pairs import lines_of, shortened
from xdploaderd.btf.codec import Btf
from xdploaderd.obj.elf import ElfImage
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.spec import PreparedObject, TargetKernel
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
        assert shortened(theirs[decision.program, decision.number]) == lines_of(decision)


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
