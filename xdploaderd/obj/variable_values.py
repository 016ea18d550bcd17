"""A variable's value from text to bytes, by its BTF type: numbers, truth, enumerators, text, bytes in hex."""

import re
import struct
from collections.abc import Sequence
from itertools import islice
from typing import Literal

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Array, Composite, Enum, Float, Int, IntEncoding
from xdploaderd.errors import OverrideError
from xdploaderd.printable import quoted

HEX_PREFIX = "hex:"
ByteOrder = Literal["little", "big"]

_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+)")
_DIGITS_MAX = 64  # of a number as written
_TRUTH = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}
_FLOATS = {4: "f", 8: "d"}
_LISTED_MAX = 8


def encode_value(btf: Btf, type_id: int, text: str, *, size: int, byteorder: str) -> bytes:
    """Return the `size` bytes of a value written as text.

    `hex:` and two digits a byte, with or without colons between, fill a variable of any type; an array of one-byte
    numbers takes text with a final NUL. OverrideError says what the type wants.
    """
    order: ByteOrder = "little" if byteorder == "little" else "big"
    if text.startswith(HEX_PREFIX):
        return _hex_bytes(text.removeprefix(HEX_PREFIX), size)
    kind = btf.type_by_id(btf.skip_mods_and_typedefs(type_id))
    match kind:
        case Int(size=own) | Enum(size=own) | Float(size=own) if own != size or not size:
            raise OverrideError(f"the variable has {size} bytes, and its type {own}")
        case Int():
            return _integer(kind, text, order)
        case Enum():
            return _enumerator(kind, text, order)
        case Float() if kind.size in _FLOATS:
            return _float(kind, text, order)
        case Array() if _is_byte(btf, kind.elem_type_id):
            return _characters(text, size)
        case Composite():
            raise OverrideError(f"a {kind.kind.name.lower()} is set by its members, as NAME.MEMBER, {_or_bytes(size)}")
        case Array():
            raise OverrideError(f"an array is set by its elements, as NAME[0], {_or_bytes(size)}")
        case _:
            raise OverrideError(f"a {kind.kind.name.lower()} is set by its {size} bytes, as {HEX_PREFIX}0011..")


def _or_bytes(size: int) -> str:
    return f"or by its {size} bytes, as {HEX_PREFIX}0011.."


def _integer(kind: Int, text: str, order: ByteOrder) -> bytes:
    if kind.encoding & IntEncoding.BOOL:
        if text not in _TRUTH:
            raise OverrideError(f"{quoted(text)} is no truth value, wanted true or false")
        return _TRUTH[text].to_bytes(kind.size, order)
    return _number(text, kind.size, order, signed=bool(kind.encoding & IntEncoding.SIGNED))


def _number(text: str, size: int, order: ByteOrder, *, signed: bool) -> bytes:
    if len(text) > _DIGITS_MAX or not _INTEGER.fullmatch(text):
        raise OverrideError(f"{quoted(text[:_DIGITS_MAX])} is no whole number, wanted one like 42, -1 or 0x2a")
    value = int(text, 16) if "x" in text.lower() else int(text, 10)
    bits = 8 * size
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise OverrideError(f"{text} does not fit into {size} bytes, wanted a number from {low} to {high}")
    return value.to_bytes(size, order, signed=signed)


def _enumerator(kind: Enum, text: str, order: ByteOrder) -> bytes:
    value = next((value for name, value in kind.values if name == text), None)
    if value is not None:
        return (value & ((1 << 8 * kind.size) - 1)).to_bytes(kind.size, order)
    if _INTEGER.fullmatch(text):
        return _number(text, kind.size, order, signed=kind.signed)
    raise OverrideError(
        f"{quoted(text)} is no enumerator, wanted {_listed([name for name, _ in kind.values])} or a number"
    )


def _float(kind: Float, text: str, order: ByteOrder) -> bytes:
    try:
        return struct.pack(f"{'<' if order == 'little' else '>'}{_FLOATS[kind.size]}", float(text))
    except (ValueError, OverflowError):
        raise OverrideError(f"{quoted(text)} is no number of {kind.size} bytes, wanted one like 0.5") from None


def _characters(text: str, size: int) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) >= size:
        raise OverrideError(f"text of {len(raw)} bytes, at most {max(size - 1, 0)} fit before the final NUL")
    if b"\0" in raw:
        raise OverrideError("text holds a NUL byte, which would end it")
    return raw.ljust(size, b"\0")


def _hex_bytes(digits: str, size: int) -> bytes:
    try:
        raw = bytes.fromhex(digits.replace(":", ""))
    except ValueError:
        raise OverrideError(f"what follows {HEX_PREFIX} is not two hex digits for each byte") from None
    if len(raw) != size:
        raise OverrideError(f"{len(raw)} bytes are given, the variable has {size}")
    return raw


def _is_byte(btf: Btf, type_id: int) -> bool:
    kind = btf.type_by_id(btf.skip_mods_and_typedefs(type_id))
    return isinstance(kind, Int) and kind.size == 1


def _listed(names: Sequence[str]) -> str:
    more = f", {len(names) - _LISTED_MAX} more" if len(names) > _LISTED_MAX else ""
    return ", ".join(quoted(name) for name in islice(names, _LISTED_MAX)) + more
