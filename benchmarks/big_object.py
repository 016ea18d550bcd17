"""A large object built in memory: 500 programs, 7,500 references to a map, 38,000 line records with relocations.

No compiler is needed, and what is measured with it is the same everywhere.
"""

import struct
from collections.abc import Iterator

from tests.builders.btf import S32, member, ptr
from tests.builders.btf import struct as btf_struct
from tests.builders.elf import Elf, Rel, Sec, Sym
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import Array, Datasec, Func, FuncProto, Linkage, SecVar, Var
from xdploaderd.insn import EXIT, INSN_SIZE, LD_IMM64, Insn, encode_insns
from xdploaderd.obj.elf import SymBind, SymType
from xdploaderd.obj.elf_sections import SHF_EXECINSTR

PROGRAMS = 500
LOADS = 15  # of the map's address in each program
LINES = 76  # line records of each program
LABELS = 10  # local symbols in each program
PADDING = 280  # instructions of each program that refer to nothing
SECTION = "xdp"
MAP_SIZE = 32  # bytes of the definition
S32_ID = 1  # the integer is the first type

_LOAD = (Insn(LD_IMM64, 1, 0, 0, 0), Insn(0, 0, 0, 0, 0))
_RETURN_2 = (Insn(0xB7, 0, 0, 0, 2), Insn(EXIT, 0, 0, 0, 0))
_CODE = encode_insns((*_LOAD * LOADS, *_RETURN_2[:1] * PADDING, *_RETURN_2))


def build_big_object() -> bytes:
    """Return the bytes of the file, some 2.8 MB."""
    btf = BtfBuilder()
    _add_map(btf)
    proto = btf.add(FuncProto(S32_ID, ()))
    functions = [btf.add(Func(f"prog_{number}", proto, Linkage.GLOBAL)) for number in range(PROGRAMS)]
    ext = _btf_ext(btf, functions)
    elf = Elf(
        sections=(
            Sec(SECTION, _CODE * PROGRAMS, flags=SHF_EXECINSTR),
            Sec(".maps", bytes(MAP_SIZE)),
            Sec(".BTF", btf.encode()),
            Sec(".BTF.ext", ext),
            Sec("license", b"GPL\0"),
        ),
        symbols=(Sym("counters", ".maps", 0, MAP_SIZE, SymType.OBJECT), *_symbols()),
        relocs=(*_map_relocs(), *(Rel(".BTF.ext", at, "prog_0", 4) for at in range(0, PROGRAMS * LINES * 16, 16))),
    )
    return elf.build()


def _add_map(btf: BtfBuilder) -> None:
    """Add an array map of one element: a number is the length of the array that a member points to."""
    if btf.add(S32) != S32_ID:
        raise AssertionError("the integer is the first type")
    kind, one = (btf.add(ptr(btf.add(Array(S32_ID, S32_ID, number)))) for number in (2, 1))
    key = btf.add(ptr(S32_ID))
    members = (member("type", kind), member("max_entries", one, 8), member("key", key, 16))
    definition = btf.add(btf_struct("", MAP_SIZE, *members, member("value", key, 24)))
    variable = btf.add(Var("counters", definition, Linkage.GLOBAL))
    btf.add(Datasec(".maps", 0, (SecVar(variable, 0, MAP_SIZE),)))


def _symbols() -> Iterator[Sym]:
    size = len(_CODE)
    for number in range(PROGRAMS):
        for label in range(LABELS):
            at = number * size + (label + 1) * INSN_SIZE
            yield Sym(f"LBB{number}_{label}", SECTION, at, bind=SymBind.LOCAL)
        yield Sym(f"prog_{number}", SECTION, number * size, size, SymType.FUNC)


def _map_relocs() -> Iterator[Rel]:
    for number in range(PROGRAMS):
        for load in range(LOADS):
            yield Rel(SECTION, number * len(_CODE) + load * 2 * INSN_SIZE, "counters")


def _btf_ext(btf: BtfBuilder, functions: list[int]) -> bytes:
    """Return a function record for each program, and line records that share a text."""
    section, text = btf.add_string(SECTION), btf.add_string("	return 2;")
    starts = range(0, PROGRAMS * len(_CODE), len(_CODE))
    funcs = [struct.pack("<II", at, type_id) for at, type_id in zip(starts, functions, strict=True)]
    lines = [
        struct.pack("<IIII", at + line * INSN_SIZE, section, text, line + 1 << 10)
        for at in starts
        for line in range(LINES)
    ]
    tables = [_table(section, funcs), _table(section, lines)]
    lengths = (0, len(tables[0]), len(tables[0]), len(tables[1]))
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, *lengths) + b"".join(tables)


def _table(section: int, records: list[bytes]) -> bytes:
    return struct.pack("<III", len(records[0]), section, len(records)) + b"".join(records)
