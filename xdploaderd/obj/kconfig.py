"""Values of CONFIG_* and LINUX_* externs in the .kconfig map (libbpf.c, bpf_object__resolve_externs, Kconfig files)."""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import Array, Enum, Int, IntEncoding
from xdploaderd.errors import LoaderError, RelocationError, UnknownFactError, error_context
from xdploaderd.obj.spec import ExternKind, ExternSpec, TargetKernel
from xdploaderd.printable import printable, quoted
from xdploaderd.uapi.bpf import Feature

CONFIG_PREFIX = "CONFIG_"
VIRTUAL_PREFIX = "LINUX_"
FEATURE_PREFIX = "LINUX_HAS_"
TRISTATE_ENUM = "libbpf_tristate"
TRISTATE = {"n": 0, "y": 1, "m": 2}  # enum libbpf_tristate of bpf_helpers.h
INT_SIZES = (1, 2, 4, 8)
U64_BITS = 64
_LETTERS = frozenset(TRISTATE)
_C_INTEGER = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))", re.ASCII)


class ValueKind(StrEnum):
    """The C types a configuration value may have."""

    BOOL = "bool"
    CHAR = "char"
    INT = "integer"
    TRISTATE = "enum libbpf_tristate"
    STRING = "array of char"


@dataclass(frozen=True, slots=True)
class ValueType:
    """What a value is written as; size in bytes."""

    kind: ValueKind
    size: int
    signed: bool


@dataclass(frozen=True, slots=True)
class KconfigValues:
    """Contents of the .kconfig map, the externs that have no value there and why, and what a user should know."""

    contents: bytes
    errors: Mapping[str, LoaderError]
    warnings: tuple[str, ...]


def kconfig_values(externs: Iterable[ExternSpec], btf: Btf, target: TargetKernel, size: int) -> KconfigValues:
    """Return the `size` bytes of the .kconfig map as the target's configuration has them.

    Weak externs that are not set stay zero. An extern without a value is no error until a program refers to it.
    """
    settings = _parse_settings(target.kconfig or "")
    contents = bytearray(size)
    errors: dict[str, LoaderError] = {}
    warnings: list[str] = []
    for extern in externs:
        if extern.kind is not ExternKind.KCONFIG:
            continue
        try:
            with error_context(f"extern '{extern.name}'"):
                encoded = _value_of(extern, _value_type(btf, extern.type_id), settings, target)
        except LoaderError as error:
            errors[extern.name] = error
            continue
        if len(encoded) > extern.size:
            warnings.append(f"extern '{extern.name}': text is cut to {extern.size - 1} of {len(encoded) - 1} bytes")
            encoded = encoded[: extern.size - 1] + b"\0"
        contents[extern.offset : extern.offset + len(encoded)] = encoded
    return KconfigValues(bytes(contents[:size]), errors, tuple(warnings))


def find_value_type(btf: Btf, type_id: int) -> ValueType | None:
    """Return how values of that type are written; None for a type that no setting fits."""
    match btf.type_by_id(btf.skip_mods_and_typedefs(type_id)):
        case Array(elem_type_id=elem, nelems=nelems):
            element = _plain_type(btf, elem)
            is_text = bool(nelems) and element is not None and element.kind is ValueKind.CHAR
            return ValueType(ValueKind.STRING, nelems, signed=False) if is_text else None
        case _:
            return _plain_type(btf, type_id)


def _value_type(btf: Btf, type_id: int) -> ValueType:
    found = find_value_type(btf, type_id)
    if found is None:
        raise RelocationError(f"type is not one of a configuration value, want one of {', '.join(ValueKind)}")
    return found


def _plain_type(btf: Btf, type_id: int) -> ValueType | None:
    match btf.type_by_id(btf.skip_mods_and_typedefs(type_id)):
        case Int(size=size, encoding=encoding) if encoding & IntEncoding.BOOL:
            return ValueType(ValueKind.BOOL, 1, signed=False) if size == 1 else None
        case Int(size=1, encoding=encoding):
            return ValueType(ValueKind.CHAR, 1, signed=bool(encoding & IntEncoding.SIGNED))
        case Int(size=size, encoding=encoding) if size in INT_SIZES:
            return ValueType(ValueKind.INT, size, signed=bool(encoding & IntEncoding.SIGNED))
        case Enum(name=name, size=size) if name == TRISTATE_ENUM and size in INT_SIZES:
            return ValueType(ValueKind.TRISTATE, size, signed=False)
    return None


def _value_of(extern: ExternSpec, value: ValueType, settings: Mapping[str, str], target: TargetKernel) -> bytes:
    if not extern.name.startswith(CONFIG_PREFIX):
        return _encode_number(value, _virtual_value(extern, target))
    if target.kconfig is None:
        raise UnknownFactError("kernel configuration cannot be read, want /boot/config-RELEASE or /proc/config.gz")
    text = settings.get(extern.name)
    if text is not None:
        return _encode_text(value, text)
    if not extern.weak:
        raise RelocationError("is not set in the kernel's configuration, want a value or a weak extern")
    return b""


def _virtual_value(extern: ExternSpec, target: TargetKernel) -> int:
    match extern.name:
        case "LINUX_KERNEL_VERSION":
            return target.version_code or _unknown("version")
        case "LINUX_HAS_BPF_COOKIE":
            return _feature_value(Feature.BPF_COOKIE, target)
        case "LINUX_HAS_SYSCALL_WRAPPER":
            return _feature_value(Feature.SYSCALL_WRAPPER, target)
        case name if name.startswith(VIRTUAL_PREFIX) and extern.weak:
            return 0
    raise RelocationError(f"is unknown, want {CONFIG_PREFIX}* or one of the known {VIRTUAL_PREFIX}* names")


def _feature_value(feature: Feature, target: TargetKernel) -> int:
    return _unknown(f"feature {feature}") if feature in target.doubtful else int(feature in target.features)


def _unknown(what: str) -> NoReturn:
    raise UnknownFactError(f"the kernel's {what} is not known")


def _encode_text(value: ValueType, text: str) -> bytes:
    """Return the bytes of a setting's right-hand side: y, n, m, a quoted text or an integer."""
    if text in _LETTERS:
        return _encode_letter(value, text)
    if text.startswith('"'):
        return _encode_string(value, text)
    return _encode_number(value, _parse_integer(text))


def _encode_letter(value: ValueType, letter: str) -> bytes:
    match value.kind:
        case ValueKind.BOOL if letter != "m":
            return bytes([letter == "y"])
        case ValueKind.TRISTATE:
            return TRISTATE[letter].to_bytes(value.size, sys.byteorder)
        case ValueKind.CHAR:
            return letter.encode()
    wanted = "enum libbpf_tristate or char" if letter == "m" else "bool, enum libbpf_tristate or char"
    raise RelocationError(f"value {letter} does not fit type {value.kind}, want {wanted}")


def _encode_string(value: ValueType, text: str) -> bytes:
    if value.kind is not ValueKind.STRING:
        raise RelocationError(f"value {printable(text)} does not fit type {value.kind}, want an array of char")
    if len(text) < len('""') or not text.endswith('"'):
        raise RelocationError(f"value {printable(text)} has no closing quote")
    return text[1:-1].encode("utf-8", "surrogateescape") + b"\0"


def _parse_integer(text: str) -> int:
    """Read as strtoull with base 0: a minus sign wraps to 64 bits."""
    found = _C_INTEGER.fullmatch(text)
    if found is None:
        raise RelocationError(f"value {quoted(text)} is not y, n, m, a quoted text or an integer")
    sign, hexadecimal, octal, decimal = found.groups()
    digits, base = next((d, b) for d, b in ((hexadecimal, 16), (octal, 8), (decimal, 10)) if d)
    if len(digits) > U64_BITS or (number := int(digits, base)) >> U64_BITS:
        raise RelocationError(f"value {quoted(text)} is over 64 bits")
    return -number % (1 << U64_BITS) if sign == "-" else number


def _encode_number(value: ValueType, number: int) -> bytes:
    if value.kind not in {ValueKind.INT, ValueKind.CHAR} and not (value.kind is ValueKind.BOOL and number in (0, 1)):
        raise RelocationError(f"value {number} does not fit type {value.kind}, want an integer")
    bits = value.size * 8
    if value.signed and number >> (U64_BITS - 1):
        number -= 1 << U64_BITS
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if value.signed else (0, (1 << bits) - 1)
    # Like libbpf, 8 bytes take any 64 bits, whatever the sign says.
    if value.size != max(INT_SIZES) and not low <= number <= high:
        raise RelocationError(f"value {number} is out of range, want {low} to {high}")
    return (number % (1 << bits)).to_bytes(value.size, sys.byteorder)


def _parse_settings(text: str) -> Mapping[str, str]:
    """Return NAME -> right-hand side of every CONFIG_ line; the first setting of a name wins."""
    settings: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(CONFIG_PREFIX):
            name, _, value = line.partition("=")
            if not value:
                raise RelocationError(f"kernel configuration line {number}: {quoted(name)} has no value")
            settings.setdefault(name, value)
    return settings
