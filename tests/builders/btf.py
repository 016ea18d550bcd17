"""Small BTF blobs for tests: the types that nearly every one needs, and a target made of a few structs."""

from collections.abc import Iterable

from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import BtfKind, BtfType, Composite, Int, IntEncoding, Member, Ref

U32 = Int("unsigned int", 4, 0, 0, 32)
S32 = Int("int", 4, IntEncoding.SIGNED, 0, 32)
U64 = Int("unsigned long long", 8, 0, 0, 64)
U8 = Int("unsigned char", 1, 0, 0, 8)
CHAR = Int("char", 1, IntEncoding.SIGNED, 0, 8)
BOOL = Int("_Bool", 1, IntEncoding.BOOL, 0, 8)


def btf_of(*types: BtfType, name: str = "test", byteorder: str = "little") -> Btf:
    """Return a blob whose types have the ids 1, 2, ... in the order given."""
    return Btf.parse(blob_of(types, byteorder), name=name)


def blob_of(types: Iterable[BtfType], byteorder: str = "little") -> bytes:
    """Return the bytes of such a blob."""
    builder = BtfBuilder()
    for btf_type in types:
        builder.add(btf_type)
    return builder.encode(byteorder)


def split_btf(base: Btf, *types: BtfType, name: str = "module") -> Btf:
    """Return a split blob on `base`; its first id is len(base)."""
    builder = BtfBuilder(strings=b"", first_id=len(base), first_offset=len(base.strings))
    for btf_type in types:
        builder.add(btf_type)
    return Btf.parse(builder.encode(), name=name, base=base)


def struct(name: str, size: int, *members: Member, kflag: bool = False) -> Composite:
    """Return a struct type."""
    return Composite(BtfKind.STRUCT, name, size, members, kflag)


def union(name: str, size: int, *members: Member) -> Composite:
    """Return a union type."""
    return Composite(BtfKind.UNION, name, size, members)


def member(name: str, type_id: int, byte_offset: int = 0) -> Member:
    """Return a member that is no bit field, at a byte offset."""
    return Member(name, type_id, byte_offset * 8, 0)


def bits(name: str, type_id: int, bit_offset: int, size: int) -> Member:
    """Return a bit field member."""
    return Member(name, type_id, bit_offset, size)


def ptr(type_id: int) -> Ref:
    """Return a pointer type."""
    return Ref(BtfKind.PTR, "", type_id)


def typedef(name: str, type_id: int) -> Ref:
    """Return a typedef."""
    return Ref(BtfKind.TYPEDEF, name, type_id)
