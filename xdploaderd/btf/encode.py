"""Values of a BTF type into bytes: the way back from what btf/dump.py shows (bpftool has none for maps)."""

import difflib
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.dump import HOST, MAX_DEPTH, MAX_VALUES, is_char
from xdploaderd.btf.types import Array, BtfKind, Composite, Datasec, Enum, Float, Int, IntEncoding, Member, Ref, Var
from xdploaderd.errors import BtfError, ConfigError, error_context
from xdploaderd.printable import quoted

_BITS = 8
_FLOATS = {4: "f", 8: "d"}
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]{1,64}|[0-9]{1,64})")
_NAME_MAX = 255  # characters of a name that similar ones are looked for


def encode_value(btf: Btf, type_id: int, value: object) -> bytes:
    """Return the bytes of a JSON value of decode_value's form, in this machine's byte order.

    Members that are not given are zero, and so is what lies between members; of a union one member is enough, and
    several must agree. Numbers may be texts such as `0x2a`. Raises ConfigError naming the member that does not fit,
    BtfError when the type has no size, or is nested over 32 levels deep or of over 100,000 values.
    """
    target = _Target(bytearray(btf.size_of(type_id)))
    _Encoder(btf).put(type_id, value, target, 0, 0)
    return bytes(target.raw)


def hex_bytes(value: object, size: int) -> bytes:
    """Return the bytes of hexadecimal digits, with or without spaces or colons between, or of a list of bytes."""
    raw = _listed_bytes(value) if isinstance(value, Sequence) and not isinstance(value, str) else _digits(value)
    if len(raw) != size:
        raise ConfigError(f"{len(raw)} bytes are given, wanted {size}")
    return raw


def _digits(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return bytes.fromhex(value.removeprefix("0x").replace(":", " "))
        except ValueError:
            pass
    raise ConfigError(f"{_shown(value)} is no text of two hexadecimal digits for each byte")


def _listed_bytes(values: Sequence[object]) -> bytes:
    numbers = [_whole(value) for value in values]
    if any(not 0 <= number < 1 << _BITS for number in numbers):
        raise ConfigError("a byte in the list is not from 0 to 255")
    return bytes(numbers)


@dataclass(slots=True)
class _Target:
    """The bytes of one value; `known` has the bits that a member has set, once there are members that may overlap."""

    raw: bytearray
    known: bytearray | None = None

    def put(self, at: int, raw: bytes) -> None:
        """Set whole bytes."""
        self.put_bits(at, raw, b"\xff" * len(raw))

    def put_bits(self, at: int, raw: bytes, mask: bytes) -> None:
        """Set the bits of `mask`; ConfigError where another member has set one of them otherwise."""
        if self.known is None:
            self.known = bytearray(len(self.raw))
        end = at + len(raw)
        if end > len(self.raw):
            raise BtfError(f"a member ends at byte {end} of {len(self.raw)}")
        old = int.from_bytes(self.raw[at:end], "little")
        known = int.from_bytes(self.known[at:end], "little")
        new, bits = int.from_bytes(raw, "little"), int.from_bytes(mask, "little")
        if (old ^ new) & known & bits:
            raise ConfigError("contradicts another member that shares its bytes")
        self.raw[at:end] = (old | new & bits).to_bytes(len(raw), "little")
        self.known[at:end] = (known | bits).to_bytes(len(raw), "little")


class _Encoder:
    """Counts the values of one encoding, as decoding does: types may be hostile."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._left = MAX_VALUES

    def put(self, type_id: int, value: object, target: _Target, at: int, depth: int) -> None:
        """Write one value at byte `at`."""
        self._count(type_id, depth)
        kind = self._btf.type_by_id(self._btf.skip_mods_and_typedefs(type_id))
        match kind:
            case Int(size=size, encoding=encoding):
                signed = bool(encoding & IntEncoding.SIGNED)
                target.put(at, _fitting(_whole(value), size * _BITS, signed=signed).to_bytes(size, HOST))
            case Enum(size=size):
                target.put(at, _enumerator(kind, value, size * _BITS).to_bytes(size, HOST))
            case Composite() if isinstance(value, Mapping):
                self._composite(kind, value, target, at, depth)
            case Array():
                self._array(kind, value, target, at, depth)
            case Datasec() if isinstance(value, Mapping):
                self._datasec(kind, value, target, at, depth)
            case Var(type_id=inner):
                self.put(inner, value, target, at, depth + 1)
            case _:
                target.put(at, self._plain(kind, type_id, value))

    def _count(self, type_id: int, depth: int) -> None:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise BtfError(f"value of type [{type_id}] is nested over {MAX_DEPTH} levels or of over {MAX_VALUES} parts")

    def _plain(self, kind: object, type_id: int, value: object) -> bytes:
        size = self._btf.size_of(type_id)
        match kind:
            case Ref(kind=BtfKind.PTR):
                return _fitting(_whole(value), size * _BITS, signed=False).to_bytes(size, HOST)
            case Float() if size in _FLOATS and isinstance(value, int | float):
                try:
                    return struct.pack(_FLOATS[size], value)
                except (OverflowError, struct.error):
                    raise ConfigError(f"{value} does not fit into a float of {size} bytes") from None
            case Composite() | Datasec() if not isinstance(value, str):
                raise ConfigError(f"{_shown(value)} is given, wanted an object with members")
            case _:
                return hex_bytes(value, size)

    def _composite(self, kind: Composite, value: Mapping[str, object], target: _Target, at: int, depth: int) -> None:
        known = self._members(kind, value, target, at, depth)
        if unknown := sorted(set(value) - known):
            name = unknown[0]
            near = difflib.get_close_matches(name[:_NAME_MAX], known, n=1)
            hint = f"did you mean {quoted(near[0])}?" if near else f"wanted one of {', '.join(sorted(known))}"
            raise ConfigError(f"there is no member {quoted(name)}, {hint}")

    def _members(self, kind: Composite, value: Mapping[str, object], target: _Target, at: int, depth: int) -> set[str]:
        """Write the members that are given, those of anonymous members too; return the names there are."""
        self._count(0, depth)
        names: set[str] = set()
        for member in kind.members:
            if member.name:
                names.add(member.name)
                if member.name in value:
                    with error_context(f"member {quoted(member.name)}"):
                        self._member(member, value[member.name], target, at, depth)
            elif isinstance(inner := self._resolved(member.type_id), Composite) and not member.bitfield_size:
                names |= self._members(inner, value, target, at + member.bit_offset // _BITS, depth + 1)
        return names

    def _member(self, member: Member, value: object, target: _Target, at: int, depth: int) -> None:
        if not member.bitfield_size:
            if member.bit_offset % _BITS:
                raise BtfError(f"member '{member.name}' starts at bit {member.bit_offset}, want a whole byte")
            self.put(member.type_id, value, target, at + member.bit_offset // _BITS, depth + 1)
            return
        count, start = member.bitfield_size, at * _BITS + member.bit_offset
        first, last = start // _BITS, -(-(start + count) // _BITS)
        skipped = start - first * _BITS
        shift = skipped if HOST == "little" else (last - first) * _BITS - skipped - count
        number = self._bits(member.type_id, value, count)
        mask = ((1 << count) - 1) << shift
        length = last - first
        target.put_bits(first, (number << shift).to_bytes(length, HOST), mask.to_bytes(length, HOST))

    def _bits(self, type_id: int, value: object, count: int) -> int:
        match self._resolved(type_id):
            case Enum() as enum:
                return _enumerator(enum, value, count)
            case Int(encoding=encoding):
                return _fitting(_whole(value), count, signed=bool(encoding & IntEncoding.SIGNED))
            case _:
                return _fitting(_whole(value), count, signed=False)

    def _array(self, array: Array, value: object, target: _Target, at: int, depth: int) -> None:
        size = self._btf.size_of(array.elem_type_id)
        element = self._resolved(array.elem_type_id)
        if isinstance(value, str) and isinstance(element, Int) and is_char(element):
            raw = value.encode("utf-8", "surrogateescape")
            if len(raw) > array.nelems:
                raise ConfigError(f"text of {len(raw)} bytes, at most {array.nelems} fit")
            target.put(at, raw.ljust(array.nelems, b"\0"))
            return
        if isinstance(value, str):
            target.put(at, hex_bytes(value, size * array.nelems))
            return
        if not isinstance(value, Sequence):
            raise ConfigError(f"{_shown(value)} is given, wanted a list of {array.nelems}")
        if len(value) != array.nelems:
            raise ConfigError(f"a list of {len(value)} is given, wanted one of {array.nelems}")
        for index, item in enumerate(value):
            with error_context(f"element {index}"):
                self.put(array.elem_type_id, item, target, at + index * size, depth + 1)

    def _datasec(self, kind: Datasec, value: Mapping[str, object], target: _Target, at: int, depth: int) -> None:
        rows = {self._btf.name_of(row.type_id): row for row in kind.vars}
        for name, item in value.items():
            if name not in rows:
                raise ConfigError(f"there is no variable {quoted(name)}")
            with error_context(f"variable {quoted(name)}"):
                self.put(rows[name].type_id, item, target, at + rows[name].offset, depth + 1)

    def _resolved(self, type_id: int) -> object:
        return self._btf.type_by_id(self._btf.skip_mods_and_typedefs(type_id))


def _whole(value: object) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value, 16) if "x" in value.lower() else int(value)
    raise ConfigError(f"{_shown(value)} is no whole number")


def _fitting(number: int, bits: int, *, signed: bool) -> int:
    """Return a number as that many bits, two's complement where it is negative."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed and bits else (0, (1 << bits) - 1)
    if not low <= number <= high:
        raise ConfigError(f"{number} does not fit into {bits} bits, wanted a number from {low} to {high}")
    return number & ((1 << bits) - 1)


def _enumerator(enum: Enum, value: object, bits: int) -> int:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        known = next((number for name, number in enum.values if name == value), None)
        if known is None:
            near = difflib.get_close_matches(value[:_NAME_MAX], [name for name, _ in enum.values], n=1)
            hint = f", did you mean {quoted(near[0])}?" if near else ""
            raise ConfigError(f"{quoted(value)} is no name of the enumeration{hint}")
        return known & ((1 << bits) - 1)
    return _fitting(_whole(value), bits, signed=enum.signed)


def _shown(value: object) -> str:
    match value:
        case Mapping():
            return "an object"
        case str():
            return quoted(value)
        case Sequence():
            return "a list"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case _:
            return quoted(str(value)) if isinstance(value, float) else "a number"
