"""Our prepared objects against libbpf: the same instructions, maps and BTF."""

import sys
from pathlib import Path

import pytest

from tests.support import libbpf
from tests.support.running import running_target
from xdploaderd.insn import LD_IMM64, Insn, iter_insns
from xdploaderd.obj.open import open_object
from xdploaderd.obj.prepare import prepare
from xdploaderd.obj.references import POISON_KFUNC_BASE
from xdploaderd.obj.spec import MapSpec, PreparedObject
from xdploaderd.uapi.bpf import PSEUDO_KFUNC_CALL, ProgType, PseudoSrc

pytestmark = pytest.mark.oracle

OBJECTS = Path(__file__).parent.parent / "bpf"
STANDARD = ("std_calls", "std_externs", "std_globals", "std_maps", "demo_xdp", "tc_count", "xdp_count", "xdp_pass")


def prepared(name: str) -> PreparedObject:
    path = OBJECTS / f"{name}.bpf.o"
    return prepare(open_object(path.read_bytes(), name=path.name), running_target())


def masked(insns: bytes) -> list[Insn]:
    """Return the instructions without descriptors; a missing weak kfunc is poisoned in 1.8's way, 1.1 calls 0."""
    slots = list(iter_insns(insns, sys.byteorder))
    for index, insn in enumerate(slots):
        if insn.code == LD_IMM64 and insn.src_reg in {PseudoSrc.MAP_FD, PseudoSrc.MAP_VALUE}:
            slots[index] = insn._replace(imm=0)
        elif insn.imm >= POISON_KFUNC_BASE:
            slots[index] = insn._replace(src_reg=PSEUDO_KFUNC_CALL, imm=0)
    return slots


def map_fields(spec: MapSpec) -> tuple[int, int, int, int, int]:
    return (spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags)


@pytest.mark.parametrize("name", STANDARD)
def test_instructions_and_maps_are_those_of_libbpf(name: str) -> None:
    ours = prepared(name)
    theirs = libbpf.load(OBJECTS / f"{name}.bpf.o", untyped=ProgType.SCHED_CLS)
    assert theirs.error == 0
    assert ours.programs.keys() == theirs.programs.keys()
    for program, insns in theirs.programs.items():
        assert masked(ours.programs[program].insns) == masked(insns), program
    assert {spec.name: map_fields(spec) for spec in ours.maps.values()} == theirs.maps
    for spec in ours.maps.values():
        if spec.section:
            assert (spec.contents or bytes(spec.value_size)) == theirs.contents[spec.name], spec.name


@pytest.mark.parametrize("name", STANDARD)
def test_btf_is_that_which_libbpf_uploads(name: str, tmp_path: Path) -> None:
    ours = prepared(name).btf
    assert ours is not None
    (tmp_path / "ours.btf").write_bytes(ours)
    theirs = libbpf.load(OBJECTS / f"{name}.bpf.o", untyped=ProgType.SCHED_CLS).btf
    assert libbpf.dump_btf_file(tmp_path / "ours.btf") == theirs
