"""BTF that no compiler makes, for the target btf: what a user may give with --btf, and what an object may hold."""

import struct
from collections.abc import Callable, Mapping

from tests.builders.btf import S32, blob_of, member, ptr
from tests.builders.btf import struct as struct_of
from xdploaderd.btf.types import Array, BtfKind, DeclTag, Enum, Func, FuncProto, Ref, Var

HEADER = struct.Struct("<HBBIIIII")
STRINGS = b"\0a\0"
MANY = 0xFFFF


def raw(types: bytes, strings: bytes = STRINGS, **header: int) -> bytes:
    """Return a blob of these bytes; `header` overrides fields of the header by name."""
    fields = {"magic": 0xEB9F, "version": 1, "flags": 0, "hdr_len": HEADER.size, "type_off": 0, "type_len": len(types)}
    fields |= {"str_off": len(types), "str_len": len(strings)} | header
    return HEADER.pack(*fields.values()) + types + strings


def record(kind: int, vlen: int, third: int, *rest: int, name: int = 1, kflag: bool = False) -> bytes:
    """Return one record as it lies in a blob."""
    return struct.pack(f"<III{len(rest)}I", name, kind << 24 | vlen | kflag << 31, third, *rest)


def _enums(count: int, values: int) -> bytes:
    return raw(record(6, values, 4, *(1, 7) * values) * count)


def _wide_tree(width: int, depth: int) -> bytes:
    """Return prototypes whose every parameter is the next prototype: a tree of width^depth comparisons."""
    protos = [FuncProto(0, tuple(("p", n + 2) for _ in range(width))) for n in range(depth)]
    return blob_of([*protos, S32, Func("f", 1, 1)])


def _structs(depth: int, width: int) -> bytes:
    return blob_of(
        [*(struct_of(f"s{n}", 8, *(member(f"m{k}", n + 2) for k in range(width))) for n in range(depth)), S32]
    )


BLOBS: Mapping[str, Callable[[], bytes]] = {
    "nothing": bytes,
    "a header only": lambda: raw(b"", b"\0"),
    "no strings": lambda: raw(b"", b""),
    "areas at 2^32-1": lambda: raw(record(2, 0, 0), type_off=0xFFFFFFFC, str_off=0xFFFFFFFF),
    "areas of 2^32-1": lambda: raw(record(2, 0, 0), type_len=0xFFFFFFFC, str_len=0xFFFFFFFF),
    "types in strings": lambda: raw(b"", b"\0" + record(2, 0, 0) + b"\0", type_len=16),
    "a header of 2^32-1": lambda: raw(b"", hdr_len=0xFFFFFFFF),
    "a header as long as the blob": lambda: raw(b"", hdr_len=27),
    "a record cut off": lambda: raw(record(4, 1, 8)),
    "a record of 2^24-1 members": lambda: raw(record(4, 0xFFFFFF, 8)),
    "kinds 0 to 127": lambda: raw(b"".join(record(kind, 0, 0, 0, 0, 0) for kind in range(128))),
    "a million records": lambda: raw(record(2, 0, 0) * 1_000_000),
    "a million of one name": lambda: raw(record(4, 0, 0) * 1_000_000),
    "a string of 8 MiB": lambda: raw(record(8, 0, 0), b"\0" + b"a" * (8 << 20) + b"\0"),
    "8 MiB of flavors": lambda: raw(record(4, 0, 0), b"\0a\0" + b"a___b\0" * 1_400_000),
    "8 MiB of underscores": lambda: raw(record(4, 0, 0), b"\0a\0" + b"_" * (8 << 20) + b"\0"),
    "one string a million times": lambda: raw(record(4, 0, 0), b"\0" + b"a\0" * 1_000_000),
    "a name into the middle of another": lambda: raw(record(4, 0, 0, name=3), b"\0abc\0"),
    "names of no text": lambda: raw(record(4, 0, 0) + record(4, 0, 0, name=2), b"\0\xff\xfe\x1b[2J\n\0"),
    "100 enums of 65,535 values": lambda: _enums(100, MANY),
    "a prototype of 65,535 parameters": lambda: raw(record(13, MANY, 0, *(1, 0) * MANY)),
    "a struct of 65,535 of itself": lambda: raw(record(4, MANY, 8, *(1, 1, 0) * MANY)),
    "a DATASEC of 65,535 of itself": lambda: raw(record(15, MANY, 8, *(1, 0, 4) * MANY)),
    "an int of 255 bits at bit 255": lambda: raw(record(1, 0, 0xFFFFFFFF, 0xFFFFFFFF)),
    "an int of no bytes": lambda: raw(record(1, 0, 0, 0)),
    "references behind the end": lambda: raw(record(2, 0, 0xFFFFFFFF) + record(3, 0, 0, 99, 98, 1)),
    "a pointer to itself": lambda: blob_of([ptr(1)]),
    "const and typedef in a ring": lambda: blob_of([Ref(BtfKind.CONST, "", 2), Ref(BtfKind.TYPEDEF, "t", 1)]),
    "a chain of 100,000 consts": lambda: blob_of([S32, *(Ref(BtfKind.CONST, "", n) for n in range(1, 100_000))]),
    "arrays of arrays of themselves": lambda: blob_of([Array(2, 1, 0xFFFFFFFF), Array(1, 1, 0xFFFFFFFF)]),
    "2^32-1 empty structs": lambda: blob_of([struct_of("s", 0), Array(1, 1, 0xFFFFFFFF)]),
    "a tag of itself": lambda: blob_of([DeclTag("t", 1, -1), DeclTag("t", 1, 0x7FFFFFFF)]),
    "a variable of itself": lambda: blob_of([Var("v", 1, 1)]),
    "a function of a function": lambda: raw(record(12, 1, 2) + record(12, 1, 1)),
    "a bit field of 255 bits at 2^24-1": lambda: raw(
        record(1, 0, 4, 32) + record(4, 1, 4, 1, 1, 0xFFFFFFFF, kflag=True)
    ),
    "prototypes as a tree of 8^30": lambda: _wide_tree(8, 30),
    "structs as a tree of 8^30": lambda: _structs(30, 8),
    "anonymous structs 1,000 deep": lambda: blob_of(
        [*(struct_of("", 8, member("", n + 2)) for n in range(1000)), S32, struct_of("s", 8, member("", 1))]
    ),
    "an enum of one name 10,000 times": lambda: blob_of([Enum(BtfKind.ENUM, "e", 4, False, (("a", 1),) * 10_000)]),
}
