"""Records of the type section: their length, what they refer to, and their values (include/uapi/linux/btf.h)."""

from array import array
from collections.abc import Callable, Sequence
from itertools import repeat

from xdploaderd.btf.types import (
    Array,
    BtfKind,
    BtfType,
    Composite,
    Datasec,
    DeclTag,
    Enum,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Ref,
    SecVar,
    Var,
)
from xdploaderd.errors import BtfError

KINDS = tuple(BtfKind)
HEAD_WORDS = 3  # name_off, info, size or type
KIND_SHIFT = 24
KIND_MASK = 0x7F  # libbpf 1.8 widens kind and vlen; the bits it takes are zero in older blobs
VLEN_MASK = 0xFFFFFF
KFLAG = 1 << 31

# Words that follow the head: fixed ones, and for each of the vlen elements.
_FIXED = {BtfKind.INT: 1, BtfKind.ARRAY: 3, BtfKind.VAR: 1, BtfKind.DECL_TAG: 1}
ELEMENT_WORDS = {
    BtfKind.STRUCT: 3,
    BtfKind.UNION: 3,
    BtfKind.ENUM: 2,
    BtfKind.FUNC_PROTO: 2,
    BtfKind.DATASEC: 3,
    BtfKind.ENUM64: 3,
}
REF_KINDS = frozenset(
    {BtfKind.PTR, BtfKind.TYPEDEF, BtfKind.VOLATILE, BtfKind.CONST, BtfKind.RESTRICT, BtfKind.TYPE_TAG}
)
SIZED_KINDS = frozenset(
    {
        BtfKind.INT,
        BtfKind.FLOAT,
        BtfKind.STRUCT,
        BtfKind.UNION,
        BtfKind.ENUM,
        BtfKind.ENUM64,
        BtfKind.DATASEC,
    }
)
_HEAD_REFERS = REF_KINDS | {BtfKind.FUNC, BtfKind.FUNC_PROTO, BtfKind.VAR, BtfKind.DECL_TAG}
_NAME_COLUMN = frozenset({BtfKind.STRUCT, BtfKind.UNION, BtfKind.ENUM, BtfKind.FUNC_PROTO, BtfKind.ENUM64})
_MORE_REFERS = frozenset({BtfKind.ARRAY, *ELEMENT_WORDS})
_TYPE_COLUMN = {BtfKind.STRUCT: 1, BtfKind.UNION: 1, BtfKind.FUNC_PROTO: 1, BtfKind.DATASEC: 0}


def stride(info: int) -> int:
    """Return the length in words of a record with this info word; BtfError for an unknown kind."""
    kind = info >> KIND_SHIFT & KIND_MASK
    if not 0 < kind < len(KINDS):
        raise BtfError(f"kind {kind} is unknown, want 1 to {len(KINDS) - 1}")
    return HEAD_WORDS + _FIXED.get(KINDS[kind], 0) + (info & VLEN_MASK) * ELEMENT_WORDS.get(KINDS[kind], 0)


def columns(words: "array[int]", offsets: "array[int]") -> tuple["array[int]", "array[int]", list[int]]:
    """Return all string offsets, all type ids, and those of them that functions have as their prototypes.

    The same as names_and_references of every record, in a tenth of the steps of the interpreter.
    """
    infos = [words[at + 1] for at in offsets]
    kinds = bytes([info >> KIND_SHIFT & KIND_MASK for info in infos])
    names = array("I", [words[at] for at in offsets])
    ids = array("I", [words[at + 2] for at, kind in zip(offsets, kinds, strict=True) if kind in _HEAD_REFERS])
    protos = [words[at + 2] for at, kind in zip(offsets, kinds, strict=True) if kind == BtfKind.FUNC]
    for at, kind, info in zip(offsets, kinds, infos, strict=True):
        if kind not in _MORE_REFERS:
            continue
        if kind == BtfKind.ARRAY:
            ids += words[at + 3 : at + 5]
        elif vlen := info & VLEN_MASK:
            first, width = at + HEAD_WORDS, ELEMENT_WORDS[KINDS[kind]]
            end = first + vlen * width
            if kind in _NAME_COLUMN:
                names += words[first:end:width]
            if kind in _TYPE_COLUMN:
                ids += words[first + _TYPE_COLUMN[KINDS[kind]] : end : width]
    return names, ids, protos


def names_and_references(words: "array[int]", at: int) -> tuple[list[int], list[int]]:
    """Return all string offsets and all type ids a record holds."""
    info = words[at + 1]
    kind = KINDS[info >> KIND_SHIFT & KIND_MASK]
    names, ids = [words[at]], []
    if kind in _HEAD_REFERS:
        ids.append(words[at + 2])
    elif kind is BtfKind.ARRAY:
        ids += words[at + 3], words[at + 4]
    if (width := ELEMENT_WORDS.get(kind, 0)) and (vlen := info & VLEN_MASK):
        first, end = at + HEAD_WORDS, at + HEAD_WORDS + vlen * width
        if kind in _NAME_COLUMN:
            names += words[first:end:width].tolist()
        if kind in _TYPE_COLUMN:
            ids += words[first + _TYPE_COLUMN[kind] : end : width].tolist()
    return names, ids


def decode_record(  # noqa: PLR0911 - one arm for each shape of record
    words: memoryview, at: int, name_at: Callable[[int], str]
) -> BtfType:
    """Return the type whose record starts at word `at`; `name_at` resolves string offsets."""
    info, third = words[at + 1], words[at + 2]
    kind, kflag, vlen = KINDS[info >> KIND_SHIFT & KIND_MASK], bool(info & KFLAG), info & VLEN_MASK
    name = name_at(words[at])
    width = ELEMENT_WORDS.get(kind, _FIXED.get(kind, 0))
    rest = words[at + HEAD_WORDS : at + HEAD_WORDS + width * (vlen if kind in ELEMENT_WORDS else 1)].tolist()
    match kind:
        case BtfKind.STRUCT | BtfKind.UNION:
            return Composite(kind, name, third, _members(rest, name_at, kflag=kflag), kflag)
        case BtfKind.ENUM | BtfKind.ENUM64:
            return Enum(kind, name, third, kflag, _enumerators(kind, rest, name_at, signed=kflag))
        case BtfKind.FUNC_PROTO:
            params = zip(map(name_at, rest[::2]), rest[1::2], strict=True)
            return FuncProto(third, tuple(params), name=name)
        case BtfKind.DATASEC:
            return Datasec(name, third, tuple(map(SecVar, rest[::3], rest[1::3], rest[2::3])))
        case BtfKind.FUNC:
            return Func(name, third, vlen)
        case _ if kind in REF_KINDS:
            return Ref(kind, name, third, kflag)
        case _:
            return _decode_plain(kind, name, third, rest, kflag=kflag)


def _decode_plain(kind: BtfKind, name: str, third: int, rest: Sequence[int], *, kflag: bool) -> BtfType:
    match kind:
        case BtfKind.INT:
            return Int(name, third, rest[0] >> 24 & 0xF, rest[0] >> 16 & 0xFF, rest[0] & 0xFF)
        case BtfKind.ARRAY:
            return Array(rest[0], rest[1], rest[2], name=name)
        case BtfKind.FWD:
            return Fwd(name, kflag)
        case BtfKind.VAR:
            return Var(name, third, rest[0])
        case BtfKind.FLOAT:
            return Float(name, third)
        case BtfKind.DECL_TAG:
            return DeclTag(name, third, _signed(rest[0], 32), kflag)
        case _:
            raise AssertionError(kind)


def decode_member(words: memoryview, at: int, index: int, name_at: Callable[[int], str]) -> Member:
    """Return one member of the struct or union whose record starts at word `at`; it has more than `index`."""
    name, type_id, offset = words[at + HEAD_WORDS + 3 * index : at + HEAD_WORDS + 3 * index + 3]
    if words[at + 1] & KFLAG:
        return Member(name_at(name), type_id, offset & 0xFFFFFF, offset >> 24)
    return Member(name_at(name), type_id, offset, 0)


def _members(rest: Sequence[int], name_at: Callable[[int], str], *, kflag: bool) -> tuple[Member, ...]:
    names, ids, offsets = map(name_at, rest[::3]), rest[1::3], rest[2::3]
    if not kflag:
        return tuple(map(Member, names, ids, offsets, repeat(0)))
    return tuple(map(Member, names, ids, (word & 0xFFFFFF for word in offsets), (word >> 24 for word in offsets)))


def _enumerators(
    kind: BtfKind, rest: Sequence[int], name_at: Callable[[int], str], *, signed: bool
) -> tuple[tuple[str, int], ...]:
    if kind is BtfKind.ENUM:
        return tuple(zip(map(name_at, rest[::2]), (_signed(word, 32) for word in rest[1::2]), strict=True))
    values = (low | high << 32 for low, high in zip(rest[1::3], rest[2::3], strict=True))
    return tuple(
        (name, _signed(value, 64) if signed else value)
        for name, value in zip(map(name_at, rest[::3]), values, strict=True)
    )


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
