"""Hand-made prepared objects: programs of a few instructions, maps, pin paths; no ELF and no BTF needed."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from xdploaderd.insn import BPF_ALU64, EXIT, LD_IMM64, Insn, encode_insns
from xdploaderd.obj.file_digest import FileDigest
from xdploaderd.obj.spec import (
    Dialect,
    FdRef,
    FunctionSpec,
    MapRef,
    MapSpec,
    ObjectSpec,
    PreparedObject,
    PreparedProgram,
    ProgramSpec,
    TargetKernel,
)
from xdploaderd.uapi.bpf import AttachType, MapType, ProgType, PseudoSrc

BPFFS = PurePosixPath("/sys/fs/bpf")
MOV_IMM = BPF_ALU64 | 0xB0
XDP_PASS = (Insn(MOV_IMM, 0, 0, 0, 2), Insn(EXIT, 0, 0, 0, 0))
READS_NULL = (Insn(MOV_IMM, 1, 0, 0, 0), Insn(0x79, 0, 1, 0, 0), *XDP_PASS)  # r0 = *(u64 *)(r1 + 0), r1 = 0


@dataclass(frozen=True)
class Pins:
    """Pinning of every map whose `pinning` is not 0, below one directory."""

    root: PurePosixPath = BPFFS

    def map_path(
        self, map_name: str, pinning: int, *, legacy: bool, object_sha1: str, work_dir: str
    ) -> PurePosixPath | None:
        """Return ROOT/maps/NAME."""
        return self.root / "maps" / map_name if pinning else None


def map_spec(name: str = "stats", **changes: Any) -> MapSpec:
    """Return an array of two 8-byte values, or what `changes` make of it."""
    values: dict[str, Any] = {"type": MapType.ARRAY, "key_size": 4, "value_size": 8, "max_entries": 2, **changes}
    return MapSpec(**{"name": name, "kernel_name": name, **values})


def prog(
    name: str = "xdp_pass", insns: Iterable[Insn] = XDP_PASS, uses: Iterable[str] = (), type_: ProgType = ProgType.XDP
) -> PreparedProgram:
    """Return a program that first loads the address of each map it `uses`."""
    refs: list[FdRef] = []
    code: list[Insn] = []
    for map_name in uses:
        refs.append(MapRef(len(code), map_name))
        code += [Insn(LD_IMM64, 1, PseudoSrc.MAP_FD, 0, 0), Insn(0, 0, 0, 0, 0)]
    raw = encode_insns((*code, *insns), sys.byteorder)
    function = FunctionSpec(name=name, section="xdp", insn_off=0, insns=raw, relocs=())
    attach_type = AttachType.XDP if type_ is ProgType.XDP else None
    spec = ProgramSpec(name=name, function=function, type=type_, attach_type=attach_type)
    return PreparedProgram(spec=spec, insns=raw, fd_refs=tuple(refs))


def prepared(
    programs: Iterable[PreparedProgram] = (),
    maps: Iterable[MapSpec] = (),
    *,
    dialect: Dialect = Dialect.STANDARD,
    byteorder: str = sys.byteorder,
    btf: bytes | None = None,
) -> PreparedObject:
    """Return an object of these programs and maps."""
    by_name: Mapping[str, PreparedProgram] = {program.spec.name: program for program in programs}
    map_specs = {spec.name: spec for spec in maps}
    spec = ObjectSpec(
        name="hand_made",
        digest=FileDigest(b""),
        dialect=dialect,
        why="made by hand",
        byteorder=byteorder,
        license="GPL",
        kern_version=0,
        maps=map_specs,
        programs={name: program.spec for name, program in by_name.items()},
        subprograms={},
        externs={},
        btf=None,
        btf_ext=None,
    )
    target = TargetKernel(release="", version_code=0, btfs=(), features=frozenset())
    return PreparedObject(spec=spec, target=target, maps=map_specs, programs=by_name, btf=btf)
