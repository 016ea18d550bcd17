"""Objects of iproute2's dialect written in memory: what no compiler makes, and what no source says twice."""

import struct
from pathlib import Path

from tests.builders.elf import Rel, Sec, Sym, object_of
from xdploaderd.insn import EXIT, LD_IMM64, Insn, encode_insns
from xdploaderd.obj.elf import SymType

MOV = 0xB7
PASS = 2  # XDP_PASS

RETURN_PASS = encode_insns([Insn(MOV, 0, 0, 0, PASS), Insn(EXIT, 0, 0, 0, 0)])
LOAD_MAP = encode_insns([Insn(LD_IMM64, 1, 0, 0, 0), Insn(0, 0, 0, 0, 0)]) + RETURN_PASS
REFUSED = encode_insns([Insn(EXIT, 0, 0, 0, 0)])  # r0 was never written


def record(*words: int, size: int = 36) -> bytes:
    """Return struct bpf_elf_map: type, key, value, max, flags, id, pinning, inner_id, inner_idx."""
    return struct.pack("<9I", *words, *[0] * (9 - len(words)))[:size]


def maps_of(**records: bytes) -> list[Sec | Sym]:
    """Return section `maps` with one global symbol a record."""
    symbols, at = [], 0
    for name, raw in records.items():
        symbols.append(Sym(name, "maps", at, len(raw), SymType.OBJECT))
        at += len(raw)
    return [Sec("maps", b"".join(records.values())), *symbols]


def written(path: Path, *parts: Sec | Sym | Rel | tuple[Sec, Sym]) -> Path:
    """Write the object of those parts to `path` and return it."""
    path.write_bytes(object_of(*parts).build())
    return path
