"""The number a relocation writes, for the object's own types and for a target's (libbpf relo_core.c)."""

from typing import NamedTuple

from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.btf.types import Array, BtfType, Enum, Int, IntEncoding, Member, Ref
from xdploaderd.errors import CoreRelocationError
from xdploaderd.relo_core.spec import (
    COMPOSITE_KINDS,
    ENUM_VALUE_KINDS,
    FIELD_KINDS,
    CoreSpec,
    enum_at,
    kind_word,
    label_of,
)

U32, U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
MAX_LOAD_BYTES = 8  # what one load instruction reads
_NOT_CHECKED = frozenset({CoreReloKind.TYPE_ID_LOCAL, CoreReloKind.TYPE_ID_TARGET})  # linkers renumber types
# Of a bit field the compiler may have chosen other values, but never for these two.
_NEVER_AMBIGUOUS = frozenset({CoreReloKind.FIELD_SIGNED, CoreReloKind.FIELD_RSHIFT_U64})
# What a kind gives when nothing matches; those left out poison the instruction.
_ABSENT = frozenset(
    {
        CoreReloKind.FIELD_EXISTS,
        CoreReloKind.TYPE_ID_TARGET,
        CoreReloKind.TYPE_EXISTS,
        CoreReloKind.TYPE_SIZE,
        CoreReloKind.ENUMVAL_EXISTS,
        CoreReloKind.TYPE_MATCHES,
    }
)


class CoreValue(NamedTuple):
    """struct bpf_core_relo_res: what the instruction holds (`original`, checked if `validate`) and shall hold (`new`).

    Values are unsigned 64-bit numbers. Sizes, in bytes, are those of the accessed field where a load or store may have
    to change its width; `may_resize` tells whether its type allows that.
    """

    original: int
    new: int = 0
    poison: bool = False
    validate: bool = True
    original_size: int = 0
    new_size: int = 0
    may_resize: bool = True


class _Value(NamedTuple):
    value: int
    validate: bool = True
    size: int = 0
    field: BtfType | None = None


def calculate(local: CoreSpec, target: CoreSpec | None, byteorder: str) -> CoreValue:
    """Return the values of both sides; without a target the kind's value for absence, or poison."""
    original = _value_of(local, byteorder)
    if target is None:
        poison = local.kind not in _ABSENT
        return CoreValue(original=original.value & U64, poison=poison, validate=original.validate)
    new = _value_of(target, byteorder)
    return CoreValue(
        original=original.value & U64,
        new=new.value & U64,
        validate=original.validate,
        original_size=original.size,
        new_size=new.size,
        may_resize=original.size == new.size or _may_resize(original.field, new.field),
    )


def _may_resize(original: BtfType | None, new: BtfType | None) -> bool:
    """A pointer or an unsigned number may be read in another width; sign extension would be lost."""
    match original, new:
        case Ref(), Ref():
            return True
        case Int(), Int():
            return IntEncoding.SIGNED not in {original.encoding, new.encoding}
        case _:
            return False


def _value_of(spec: CoreSpec, byteorder: str) -> _Value:
    if spec.kind in FIELD_KINDS:
        return _field_value(spec, byteorder)
    if spec.kind in ENUM_VALUE_KINDS:
        return _enum_value(spec)
    match spec.kind:
        case CoreReloKind.TYPE_SIZE:
            value = spec.btf.size_of(spec.root_type_id)
        case CoreReloKind.TYPE_ID_LOCAL | CoreReloKind.TYPE_ID_TARGET:
            value = spec.root_type_id
        case _:
            value = 1
    return _Value(value, validate=spec.kind not in _NOT_CHECKED)


def _enum_value(spec: CoreSpec) -> _Value:
    if spec.kind is CoreReloKind.ENUMVAL_EXISTS:
        return _Value(1)
    accessor = spec.accessors[0]
    return _Value(enum_at(spec.btf, accessor.type_id).values[accessor.idx][1])


def _field_value(spec: CoreSpec, byteorder: str) -> _Value:
    if spec.kind is CoreReloKind.FIELD_EXISTS:
        return _Value(1)
    last = spec.accessors[-1]
    if not last.name:
        return _element_value(spec, last.type_id)
    member = spec.btf.member_at(last.type_id, last.idx)
    if member.bitfield_size:
        return _Load.of_bitfield(spec, member).value(spec.kind, byteorder)
    return _Load.of_member(spec, member).value(spec.kind, byteorder)


def _element_value(spec: CoreSpec, type_id: int) -> _Value:
    match spec.kind:
        case CoreReloKind.FIELD_BYTE_OFFSET:
            size = spec.btf.size_of(_innermost_element(spec, type_id))
            return _Value(spec.bit_offset // 8, size=size, field=spec.btf.type_by_id(type_id))
        case CoreReloKind.FIELD_BYTE_SIZE:
            return _Value(spec.btf.size_of(type_id))
        case _:
            raise CoreRelocationError(f"{label_of(spec.kind)} cannot be asked of an array element")


def _innermost_element(spec: CoreSpec, type_id: int) -> int:
    """Return the element type behind all dimensions of an array; size_of bounds the way."""
    spec.btf.size_of(type_id)
    while True:
        type_id = spec.btf.skip_mods_and_typedefs(type_id)
        if spec.btf.kind_of(type_id) in COMPOSITE_KINDS:  # which would be decoded whole
            return type_id
        match spec.btf.type_by_id(type_id):
            case Array(elem_type_id=elem):
                type_id = elem
            case _:
                return type_id


class _Load(NamedTuple):
    """The aligned bytes a field is read from, and the bits of the field in them; offsets from the root's start."""

    byte_off: int
    byte_size: int
    bit_off: int
    bit_size: int
    field: BtfType | None  # None: a struct or union, of which nothing is asked but its size
    access_size: int  # of a load or store of the field; 0 for a bit field
    is_bitfield: bool

    @classmethod
    def of_member(cls, spec: CoreSpec, member: Member) -> "_Load":
        """Return the load of a plain member."""
        type_id = spec.btf.skip_mods_and_typedefs(member.type_id)
        size = spec.btf.size_of(type_id)
        access = spec.btf.size_of(_innermost_element(spec, type_id)) if _is_offset(spec) else 0
        field = None if spec.btf.kind_of(type_id) in COMPOSITE_KINDS else spec.btf.type_by_id(type_id)
        return cls(spec.bit_offset // 8, size, spec.bit_offset, size * 8, field, access, is_bitfield=False)

    @classmethod
    def of_bitfield(cls, spec: CoreSpec, member: Member) -> "_Load":
        """Return the smallest aligned load, from the size of the declared type on, that has all bits of the field."""
        field = spec.btf.type_by_id(spec.btf.skip_mods_and_typedefs(member.type_id))
        if not isinstance(field, Int | Enum) or not field.size:
            raise CoreRelocationError(f"bit field '{member.name}' is a {kind_word(field.kind)}, want an int or enum")
        start, size = spec.bit_offset, field.size
        while start + member.bitfield_size > (start // 8 // size + 1) * size * 8:
            if size >= MAX_LOAD_BYTES:
                raise CoreRelocationError(
                    f"bit field '{member.name}', {member.bitfield_size} bits at bit {start}, cannot be read by one load"
                )
            size *= 2
        return cls(start // 8 // size * size, size, start, member.bitfield_size, field, 0, is_bitfield=True)

    def value(self, kind: CoreReloKind, byteorder: str) -> _Value:
        """Return what `kind` asks of the field."""
        validate = not self.is_bitfield or kind in _NEVER_AMBIGUOUS
        match kind:
            case CoreReloKind.FIELD_BYTE_OFFSET:
                field = None if self.is_bitfield else self.field
                return _Value(self.byte_off, validate, self.access_size, field)
            case CoreReloKind.FIELD_BYTE_SIZE:
                value = self.byte_size
            case CoreReloKind.FIELD_SIGNED:
                value = int(_is_signed(self.field))
            case CoreReloKind.FIELD_LSHIFT_U64:
                value = self._left_shift(byteorder) & U32  # libbpf counts bits in 32 bits: a field may have over 64
            case _:
                value = 64 - self.bit_size & U32
        return _Value(value, validate)

    def _left_shift(self, byteorder: str) -> int:
        if byteorder == "little":
            return 64 - (self.bit_off + self.bit_size - self.byte_off * 8)
        return (8 - self.byte_size) * 8 + (self.bit_off - self.byte_off * 8)


def _is_offset(spec: CoreSpec) -> bool:
    return spec.kind is CoreReloKind.FIELD_BYTE_OFFSET


def _is_signed(field: BtfType | None) -> bool:
    match field:
        case Int(encoding=encoding):
            return bool(encoding & IntEncoding.SIGNED)
        case Enum(signed=signed):
            return signed
        case _:
            return False
