"""Show bytes as values of a BTF type, for map keys and values (libbpf btf_dump.c, bpftool btf_dumper.c)."""

import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Literal

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Array, BtfKind, Composite, Datasec, Enum, Float, Int, IntEncoding, Member, Ref, Var
from xdploaderd.errors import BtfError

MAX_DEPTH = 32
MAX_VALUES = 100_000
_FLOATS = {4: "f", 8: "d"}
_BITS = 8

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]


def decode_value(btf: Btf, type_id: int, raw: bytes) -> JsonValue:
    """Return `raw`, in this machine's byte order, as JSON-able values.

    Structs, unions and DATASECs become objects (members of anonymous ones among those of the outer one), arrays lists,
    arrays of char strings where they hold text, enums names where they have one, pointers numbers; what has no shape
    becomes hexadecimal digits. BtfError when the type does not have that many bytes, or is nested over 32 levels deep
    or of over 100,000 values.
    """
    size = btf.size_of(type_id)
    if size != len(raw):
        raise BtfError(f"type [{type_id}] has {size} bytes, the value {len(raw)}")
    return _Decoder(btf).value(type_id, raw, 0)


class _Decoder:
    """Counts the values of one decoding: an array of a billion empty structs takes no bytes."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._left = MAX_VALUES

    def value(self, type_id: int, raw: bytes, depth: int) -> JsonValue:
        """Return one value; `raw` is exactly its bytes."""
        self._take(1, type_id)
        if depth > MAX_DEPTH:
            raise BtfError(f"value of type [{type_id}] is nested over {MAX_DEPTH} levels")
        match self._btf.type_by_id(self._btf.skip_mods_and_typedefs(type_id)):
            case Int(encoding=encoding):
                return _number(raw, encoding)
            case Enum() as enum:
                return _enumerator(enum, raw)
            case Composite() as composite:
                return self._members(composite, raw, depth)
            case Array() as array:
                return self._elements(array, raw, depth)
            case Datasec() as datasec:
                return self._variables(datasec, raw, depth)
            case other:
                return self._plain(other, raw, depth)

    def _take(self, count: int, type_id: int) -> None:
        self._left -= count
        if self._left < 0:
            raise BtfError(f"value of type [{type_id}] has over {MAX_VALUES} parts")

    def _plain(self, btf_type: object, raw: bytes, depth: int) -> JsonValue:
        match btf_type:
            case Ref(kind=BtfKind.PTR):
                return int.from_bytes(raw, HOST)
            case Float(size=size) if size in _FLOATS:
                (number,) = struct.unpack(_FLOATS[size], raw)
                return float(number)
            case Var(type_id=type_id):
                return self.value(type_id, raw, depth + 1)
            case _:
                return raw.hex()

    def _members(self, composite: Composite, raw: bytes, depth: int) -> JsonValue:
        shown: dict[str, JsonValue] = {}
        for member in composite.members:
            value = self._member(member, raw, depth)
            if member.name:
                shown[member.name] = value
            elif isinstance(value, dict):
                shown.update(value)
        return shown

    def _member(self, member: Member, raw: bytes, depth: int) -> JsonValue:
        if member.bitfield_size:
            return self._bitfield(member, raw)
        if member.bit_offset % _BITS:
            raise BtfError(f"member '{member.name}' starts at bit {member.bit_offset}, want a whole byte")
        return self._part(member.type_id, raw, member.bit_offset // _BITS, depth)

    def _bitfield(self, member: Member, raw: bytes) -> JsonValue:
        start, count = member.bit_offset, member.bitfield_size
        if start + count > len(raw) * _BITS:
            raise BtfError(f"bit field '{member.name}' ends at bit {start + count} of {len(raw) * _BITS}")
        whole = int.from_bytes(raw, HOST)
        shift = start if HOST == "little" else len(raw) * _BITS - start - count
        value = whole >> shift & (1 << count) - 1
        match self._btf.type_by_id(self._btf.skip_mods_and_typedefs(member.type_id)):
            case Int(encoding=encoding) if encoding & IntEncoding.SIGNED and value >> (count - 1):
                return value - (1 << count)
            case Int(encoding=encoding) if encoding & IntEncoding.BOOL:
                return bool(value)
            case Enum() as enum:
                return _name_of(enum, value, count)
            case _:
                return value

    def _elements(self, array: Array, raw: bytes, depth: int) -> JsonValue:
        element = self._btf.type_by_id(self._btf.skip_mods_and_typedefs(array.elem_type_id))
        if isinstance(element, Int) and is_char(element):
            text = _text(raw)
            if text is not None:
                return text
        size = self._btf.size_of(array.elem_type_id)
        if not size and array.nelems:
            return self._empty_elements(array, depth)
        return [self._part(array.elem_type_id, raw, index * size, depth) for index in range(array.nelems)]

    def _empty_elements(self, array: Array, depth: int) -> JsonValue:
        """Return elements without bytes, all of one value: decoded once, and counted as often as they are shown."""
        before = self._left
        value = self._part(array.elem_type_id, b"", 0, depth)
        self._take((before - self._left) * (array.nelems - 1), array.elem_type_id)
        return [value] * array.nelems

    def _variables(self, datasec: Datasec, raw: bytes, depth: int) -> JsonValue:
        return {self._btf.name_of(row.type_id): self._part(row.type_id, raw, row.offset, depth) for row in datasec.vars}

    def _part(self, type_id: int, raw: bytes, offset: int, depth: int) -> JsonValue:
        end = offset + self._btf.size_of(type_id)
        if end > len(raw):
            raise BtfError(f"type [{type_id}] at byte {offset} ends at byte {end} of {len(raw)}")
        return self.value(type_id, raw[offset:end], depth + 1)


HOST: Literal["little", "big"] = "little" if sys.byteorder == "little" else "big"


def _number(raw: bytes, encoding: int) -> int | bool:
    value = int.from_bytes(raw, HOST, signed=bool(encoding & IntEncoding.SIGNED))
    return bool(value) if encoding & IntEncoding.BOOL and value in {0, 1} else value


def is_char(element: Int) -> bool:
    # Compilers mark char as merely signed, so that its name has to tell.
    return element.size == 1 and (element.name == "char" or bool(element.encoding & IntEncoding.CHAR))


def _text(raw: bytes) -> str | None:
    """Return the text before the NULs that fill an array up; None when it is no printable text."""
    try:
        text = raw.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _enumerator(enum: Enum, raw: bytes) -> str | int:
    return _name_of(enum, int.from_bytes(raw, HOST), len(raw) * _BITS)


def _name_of(enum: Enum, value: int, bits: int) -> str | int:
    mask = (1 << bits) - 1
    for name, known in enum.values:
        if known & mask == value:
            return name
    return value - (1 << bits) if enum.signed and bits and value >> (bits - 1) else value
