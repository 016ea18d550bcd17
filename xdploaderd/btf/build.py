"""Write BTF blobs: types as values become records and a string section (Documentation/bpf/btf.rst)."""

import struct
from collections.abc import Callable, Iterable

from xdploaderd.btf.header import BTF_MAGIC, BTF_VERSION, HEADER_SIZE
from xdploaderd.btf.records import KFLAG, KIND_SHIFT
from xdploaderd.btf.string_table import StringTable
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
    Var,
    Void,
)

_PREFIX = {"little": "<", "big": ">"}
_OffsetOf = Callable[[str], int]  # of a text in the string section


class BtfBuilder:
    """Collects types; their ids count from `first_id` in the order they are added.

    `strings` is an existing string section that stays in front, so that offsets into it (from .BTF.ext) keep their
    meaning. A split blob is built with `first_id` and `first_offset` at its base's number of types and string bytes.
    """

    def __init__(self, *, strings: bytes = b"\0", first_id: int = 1, first_offset: int = 0) -> None:
        self._types: list[BtfType] = []
        self._first_id = first_id
        self._strings = StringTable(strings, first_offset=first_offset)

    def add(self, btf_type: BtfType) -> int:
        """Return the id the type gets; its references are written as they are, checked by nobody."""
        self._types.append(btf_type)
        return self._first_id + len(self._types) - 1

    def add_string(self, text: str) -> int:
        """Return the offset of `text` in the string section, where it is stored once."""
        return self._strings.offset_of(text)

    def encode(self, byteorder: str = "little") -> bytes:
        """Return the blob: header, types, strings."""
        return join_blob(encode_records(self._types, self._strings, byteorder), self._strings, byteorder)


def encode_types(types: Iterable[BtfType], *, byteorder: str, strings: bytes = b"\0") -> bytes:
    """Return a blob of `types`, whose ids count from 1; `strings` (of Btf.strings) stays the start of the strings."""
    table = StringTable(strings)
    return join_blob(encode_records(types, table, byteorder), table, byteorder)


def encode_records(types: Iterable[BtfType], strings: StringTable, byteorder: str) -> bytes:
    """Return the records of `types`, as they follow each other; their names are put into `strings`."""
    words = [word & 0xFFFFFFFF for btf_type in types for word in _record(btf_type, strings.offset_of)]
    return struct.pack(f"{_PREFIX[byteorder]}{len(words)}I", *words)


def join_blob(records: bytes | bytearray, strings: StringTable, byteorder: str) -> bytes:
    """Return header, records and strings as one blob."""
    raw_strings = bytes(strings)
    header = struct.pack(
        f"{_PREFIX[byteorder]}HBBIIIII",
        *(BTF_MAGIC, BTF_VERSION, 0, HEADER_SIZE),
        *(0, len(records), len(records), len(raw_strings)),
    )
    return b"".join((header, records, raw_strings))


def _record(btf_type: BtfType, offset_of: _OffsetOf) -> list[int]:  # noqa: C901, PLR0911 - one arm for each shape of record
    name = offset_of(btf_type.name)
    info = btf_type.kind << KIND_SHIFT
    match btf_type:
        case Composite() | Enum() | FuncProto() | Datasec():
            return [name, *_vector(btf_type, offset_of)]
        case Int(size=size, encoding=encoding, bit_offset=bit_offset, bits=bits):
            return [name, info, size, encoding << 24 | bit_offset << 16 | bits]
        case Float(size=size):
            return [name, info, size]
        case Ref(type_id=type_id, kflag=kflag):
            return [name, info | _kflag(kflag), type_id]
        case Array(elem_type_id=elem, index_type_id=index, nelems=nelems):
            return [name, info, 0, elem, index, nelems]
        case Fwd(union=union):
            return [name, info | _kflag(union), 0]
        case Func(type_id=type_id, linkage=linkage):
            return [name, info | linkage, type_id]
        case Var(type_id=type_id, linkage=linkage):
            return [name, info, type_id, linkage]
        case DeclTag(type_id=type_id, component=component, kflag=kflag):
            return [name, info | _kflag(kflag), type_id, component]
        case Void():
            raise ValueError("void has id 0 and no record")


def _vector(btf_type: Composite | Enum | FuncProto | Datasec, offset_of: _OffsetOf) -> list[int]:
    """Return a record of many elements, from its info word on."""
    info = btf_type.kind << KIND_SHIFT
    match btf_type:
        case Composite(size=size, members=members, kflag=kflag):
            flag = kflag or any(member.bitfield_size for member in members)
            rows = [(offset_of(m.name), m.type_id, _member_word(m, kflag=flag)) for m in members]
            return [info | len(members) | _kflag(flag), size, *_flat(rows)]
        case Enum(size=size, signed=signed, values=values):
            pairs = [(offset_of(name), *_enum_words(btf_type.kind, value)) for name, value in values]
            return [info | len(values) | _kflag(signed), size, *_flat(pairs)]
        case FuncProto(return_type_id=result, params=params):
            return [info | len(params), result, *_flat((offset_of(name), t) for name, t in params)]
        case Datasec(size=size, vars=variables):
            return [info | len(variables), size, *_flat((v.type_id, v.offset, v.size) for v in variables)]


def _kflag(flag: object) -> int:
    return KFLAG if flag else 0


def _member_word(member: Member, *, kflag: bool) -> int:
    return member.bitfield_size << 24 | member.bit_offset if kflag else member.bit_offset


def _enum_words(kind: BtfKind, value: int) -> tuple[int, ...]:
    return (value,) if kind is BtfKind.ENUM else (value, value >> 32)


def _flat(rows: Iterable[tuple[int, ...]]) -> list[int]:
    return [word for row in rows for word in row]
