"""Objects whose BTF and CO-RE records no compiler makes, for the target elf: types of themselves, endless tables."""

import struct
from collections.abc import Callable, Iterable, Mapping

from tests.builders.btf import S32, U32, blob_of, member, ptr
from tests.builders.btf import struct as struct_of
from tests.builders.elf import Rel, Sec, Sym, object_of, program
from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.types import Array, BtfKind, BtfType, Datasec, Enum, Func, FuncProto, Member, Ref, SecVar, Var
from xdploaderd.obj.elf import SymType

MAIN = program("main")
MIB = 1 << 20


def with_types(*types: BtfType, parts: Iterable[Sec | Sym | Rel | tuple[Sec, Sym]] = (), ext: bytes = b"") -> bytes:
    """Return an object of one program, these types and parts."""
    sections = [Sec(".BTF", blob_of(types))]
    if ext:
        sections.append(Sec(".BTF.ext", ext))
    return object_of(MAIN, *sections, *parts).build()


def _chain(kind: BtfKind, count: int) -> tuple[BtfType, ...]:
    return (S32, *(Ref(kind, "t" if kind is BtfKind.TYPEDEF else "", number) for number in range(1, count)))


def _map(*members_of: tuple[str, BtfType], extra: Iterable[BtfType] = ()) -> bytes:
    """Return an object with one map of `.maps` whose definition has these members, each a pointer to its type."""
    types: list[BtfType] = [S32, *extra]
    fields: list[Member] = []
    for name, pointee in members_of:
        types += [pointee, ptr(len(types) + 1)]
        fields.append(member(name, len(types), 8 * len(fields)))
    types.append(struct_of("", 8 * len(fields), *fields))
    types.append(Var("m", len(types), 1))
    types.append(Datasec(".maps", 8 * len(fields), (SecVar(len(types), 0, 8 * len(fields)),)))
    maps = Sec(".maps", bytes(8 * len(fields)))
    return with_types(*types, parts=[maps, Sym("m", ".maps", 0, 8 * len(fields), SymType.OBJECT)])


def _core(access: bytes, kind: int = 0, count: int = 1, types: tuple[BtfType, ...] = ()) -> bytes:
    """Return an object with CO-RE records for its first instruction, which is a load."""
    builder = BtfBuilder()
    for btf_type in types or (S32, struct_of("s", 8, member("a", 1), member("b", 2, 4))):
        builder.add(btf_type)
    section, text = builder.add_string("xdp"), builder.add_string(access.decode("latin-1"))
    rows = struct.pack("<IIII", 0, 2, text, kind) * count
    table = struct.pack("<III", 16, section, count) + rows
    ext = struct.pack("<HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, 0, 0, 0, 0, len(table)) + table
    return object_of(MAIN, Sec(".BTF", builder.encode()), Sec(".BTF.ext", ext)).build()


def _lines(rows: Iterable[tuple[int, int, int, int]]) -> bytes:
    builder = BtfBuilder()
    for btf_type in (S32, FuncProto(1, ()), Func("main", 2, 1)):
        builder.add(btf_type)
    section = builder.add_string("xdp")
    func = struct.pack("<IIIII", 8, section, 1, 0, 3)
    packed = [struct.pack("<IIII", *row) for row in rows]
    line = struct.pack("<III", 16, section, len(packed)) + b"".join(packed)
    ext = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(func), len(func), len(line)) + func + line
    return object_of(MAIN, Sec(".BTF", builder.encode()), Sec(".BTF.ext", ext)).build()


TYPES: Mapping[str, Callable[[], bytes]] = {
    "BTF of zeros": lambda: object_of(MAIN, Sec(".BTF", bytes(4 * MIB))).build(),
    "BTF of 4 MiB of pointers": lambda: with_types(*(ptr(0) for _ in range(340_000))),
    "BTF of 5 MiB": lambda: object_of(MAIN, Sec(".BTF", blob_of([S32]) + bytes(5 * MIB))).build(),
    "100,000 typedefs in a chain": lambda: with_types(*_chain(BtfKind.TYPEDEF, 100_000)),
    "a global of 100,000 typedefs": lambda: with_types(
        *_chain(BtfKind.CONST, 100_000), Var("v", 100_000, 1), Datasec(".data", 4, (SecVar(100_001, 0, 4),)),
        parts=[Sec(".data", bytes(4)), Sym("v", ".data", 0, 4, SymType.OBJECT)],
    ),
    "a typedef of itself": lambda: with_types(Ref(BtfKind.TYPEDEF, "t", 1)),
    "an array of itself": lambda: with_types(S32, Array(2, 1, 4)),
    "32 arrays of arrays of 2^32-1": lambda: with_types(S32, *(Array(n, 1, 0xFFFFFFFF) for n in range(1, 33))),
    "a struct of itself": lambda: with_types(S32, struct_of("s", 8, member("s", 2))),
    "a struct of 65,535 members": lambda: with_types(
        S32, struct_of("s", 8, *(member(f"m{n}", 1) for n in range(65_535)))
    ),
    "50 enums of 2,000 values": lambda: with_types(
        *(Enum(BtfKind.ENUM, f"e{k}", 4, False, tuple((f"v{n}", n) for n in range(2000))) for k in range(50))
    ),
    "an enum of 65,535 values": lambda: with_types(
        Enum(BtfKind.ENUM, "e", 4, False, tuple((f"v{n}", n) for n in range(65_535)))
    ),
    "65,535 parameters": lambda: with_types(
        S32, FuncProto(1, tuple((f"p{n}", 1) for n in range(65_535))), Func("main", 2, 1)
    ),
    "16,000 variables in one DATASEC": lambda: with_types(
        S32, *(Var(f"v{n}", 1, 1) for n in range(16_000)),
        Datasec(".data", 4, tuple(SecVar(n + 2, 0, 4) for n in range(16_000))),
        parts=[Sec(".data", bytes(4)), *(Sym(f"v{n}", ".data", 0, 4, SymType.OBJECT) for n in range(16_000))],
    ),
    "70,000 rows of one variable": lambda: with_types(
        S32, Var("v", 1, 1), Datasec(".data", 4, (SecVar(2, 0, 4),) * 70_000),
        parts=[Sec(".data", bytes(4)), Sym("v", ".data", 0, 4, SymType.OBJECT)],
    ),
    "variables that overlap": lambda: with_types(
        S32, Var("v", 1, 1), Var("w", 1, 1), Datasec(".data", 4, (SecVar(2, 0, 4), SecVar(3, 2, 0xFFFFFFFF))),
        parts=[Sec(".data", bytes(4)), Sym("v", ".data", 0, 4, 1), Sym("w", ".data", 0xFFFFFFFE, 4, 1)],
    ),
    "a variable at 2^64-1": lambda: with_types(
        S32, Var("v", 1, 1), Datasec(".data", 0, (SecVar(2, 0, 4),)),
        parts=[Sec(".data", bytes(4)), Sym("v", ".data", (1 << 64) - 1, 4, SymType.OBJECT)],
    ),
    "a DATASEC in a DATASEC": lambda: with_types(
        S32, Datasec(".data", 4, (SecVar(2, 0, 4),)), parts=[Sec(".data", bytes(4))]
    ),
    "a DATASEC twice": lambda: with_types(
        S32, Datasec(".data", 4, ()), Datasec(".data", 4, ()), parts=[Sec(".data", bytes(4))]
    ),
    "a map of 2^32-1 entries": lambda: _map(("max_entries", Array(1, 1, 0xFFFFFFFF)), ("type", Array(1, 1, 2))),
    "a map whose key is itself": lambda: _map(("type", Array(1, 1, 1)), ("key", Ref(BtfKind.TYPEDEF, "k", 4))),
    "a map whose value has 4 GiB": lambda: _map(
        ("type", Array(1, 1, 2)), ("value", Array(2, 1, 0xFFFF)), extra=[Array(1, 1, 0x3FFF)]
    ),
    "a map of unknown members": lambda: _map(*((f"m{n}", S32) for n in range(200))),
    "a map with a member 1,000 times": lambda: _map(*(("type", Array(1, 1, 2)),) * 1000),
    "maps inside of maps": lambda: _map(("type", Array(1, 1, 12)), ("values", Array(1, 1, 0))),
    "a .kconfig extern of 4 GiB": lambda: with_types(
        U32, Array(1, 1, 0x3FFFFFFF), Var("CONFIG_X", 2, 2), Datasec(".kconfig", 0, (SecVar(3, 0, 0),)),
        parts=[Sym("CONFIG_X", 0)],
    ),
    "an extern that is a function and a variable": lambda: with_types(
        S32, FuncProto(1, ()), Func("x", 2, 2), Var("x", 1, 2),
        Datasec(".ksyms", 0, (SecVar(3, 0, 0), SecVar(4, 0, 0))),
        parts=[Sym("x", 0)],
    ),
    "1,000 externs by type": lambda: with_types(
        S32, *(Var(f"x{n}", 1, 2) for n in range(1000)),
        Datasec(".ksyms", 0, tuple(SecVar(n + 2, 0, 4) for n in range(1000))),
        parts=[Sym(f"x{n}", 0) for n in range(1000)],
    ),
    "a name of 65,000 bytes": lambda: with_types(Ref(BtfKind.TYPEDEF, "n" * 65_000, 0)),
    "names that are no text": lambda: with_types(S32).replace(b"int\0", b"i\xff\x1b\0"),
    "an access string of 60,000 bytes": lambda: _core(b"0:" * 30_000 + b"0"),
    "an access of 65 steps": lambda: _core(b":".join([b"0"] * 65)),
    "a negative access": lambda: _core(b"0:-1"),
    "an access of 2^64": lambda: _core(b"18446744073709551616:18446744073709551616"),
    "an access of 10^9 digits' worth": lambda: _core(b"0:9999999999"),
    "an access of other digits": lambda: _core("0:²".encode("latin-1")),
    "an empty access": lambda: _core(b""),
    "records of every kind": lambda: _core(b"0", 12),
    "records of an unknown kind": lambda: _core(b"0", 0xFFFFFFFF),
    "16,000 records": lambda: _core(b"0:1", 0, 16_000),
    "16,000 records of type matches": lambda: _core(b"0", 12, 16_000),
    "70,000 records": lambda: _core(b"0:1", 0, 70_000),
    "records through 64 anonymous structs": lambda: _core(
        b":".join([b"0"] * 64), 0, 1,
        (S32, *(struct_of("s" if n == 1 else "", 8, member("", n + 2)) for n in range(1, 70)), S32),
    ),
    "lines in no order": lambda: _lines((8 * (n * 7919 % 2), 0, 0, n) for n in range(2000)),
    "lines behind the end": lambda: _lines([(0, 0, 0, 1), (0xFFFFFFF8, 0, 0, 2)]),
    "lines between instructions": lambda: _lines([(0, 0, 0, 1), (3, 0, 0, 2)]),
    "200,000 lines": lambda: _lines((8 * (n % 2), 0, 0, n) for n in range(200_000)),
}  # fmt: skip
