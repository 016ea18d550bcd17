"""Hand-made ObjectSpec values and targets, as open would give them."""

import sys
from collections.abc import Sequence

from xdploaderd.btf.build import encode_types
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfType
from xdploaderd.insn import CALL, EXIT, LD_IMM64, Insn, encode_insns
from xdploaderd.obj.file_digest import FileDigest
from xdploaderd.obj.spec import Dialect, FunctionSpec, MapSpec, ObjectSpec, ProgramSpec, Reloc, TargetKernel
from xdploaderd.uapi.bpf import PSEUDO_CALL, Feature, MapType, ProgType

NOP = Insn(0xB7, 0, 0, 0, 0)  # r0 = 0
EXIT_INSN = Insn(EXIT, 0, 0, 0, 0)


def call(imm: int = -1) -> Insn:
    """Return a call of a BPF function."""
    return Insn(CALL, 0, PSEUDO_CALL, 0, imm)


def load64(*, src_reg: int = 0, imm: int = 0) -> list[Insn]:
    """Return the two slots of a 64-bit immediate load into r1."""
    return [Insn(LD_IMM64, 1, src_reg, 0, imm), Insn(0, 0, 0, 0, 0)]


def function(
    name: str, insns: Sequence[Insn], relocs: Sequence[Reloc] = (), *, section: str = ".text", insn_off: int = 0
) -> FunctionSpec:
    """Return a function; instructions are encoded in the machine's order."""
    code = encode_insns(insns, sys.byteorder)
    return FunctionSpec(name=name, section=section, insn_off=insn_off, insns=code, relocs=tuple(relocs))


def program(name: str, insns: Sequence[Insn], relocs: Sequence[Reloc] = ()) -> ProgramSpec:
    """Return an XDP program that begins its section."""
    return ProgramSpec(name=name, function=function(name, insns, relocs, section="xdp"), type=ProgType.XDP)


def data_map(
    name: str,
    section: str,
    size: int,
    *,
    type: int = MapType.ARRAY,
    max_entries: int = 1,
    flags: int = 0,
    key_type_id: int = 0,
    value_type_id: int = 0,
) -> MapSpec:
    """Return the map behind a data section, or with an empty `section` some other map."""
    return MapSpec(
        name=name,
        kernel_name=name,
        type=type,
        key_size=4,
        value_size=size,
        max_entries=max_entries,
        flags=flags,
        key_type_id=key_type_id,
        value_type_id=value_type_id,
        section=section,
        contents=bytes(size),
    )


def btf_of(*types: BtfType, name: str = "object") -> Btf:
    """Return a BTF whose ids count from 1 in the order given."""
    return Btf.parse(encode_types(types, byteorder=sys.byteorder), name=name)


def object_spec(
    *programs: ProgramSpec,
    subprograms: Sequence[FunctionSpec] = (),
    maps: Sequence[MapSpec] = (),
    btf: Btf | None = None,
) -> ObjectSpec:
    """Return an object; replace() adds what a test needs besides."""
    return ObjectSpec(
        name="fw",
        digest=FileDigest(b""),
        dialect=Dialect.STANDARD,
        why="test",
        byteorder=sys.byteorder,
        license="GPL",
        kern_version=0,
        maps={spec.name: spec for spec in maps},
        programs={spec.name: spec for spec in programs},
        subprograms={spec.insn_off: spec for spec in subprograms},
        externs={},
        btf=btf,
        btf_ext=None,
    )


def target_kernel(*btfs: Btf, kconfig: str | None = None, kallsyms: str | None = None) -> TargetKernel:
    """Return a kernel 6.18.44 with every feature, 2 CPUs and pages of 4096 bytes."""
    return TargetKernel(
        release="6.18.44",
        version_code=0x06122C,
        btfs=btfs,
        features=frozenset(Feature),
        kconfig=kconfig,
        kallsyms=kallsyms,
        nr_cpus=2,
    )
