"""CO-RE access specs: parse "0:1:2", walk the local types, print as libbpf does (libbpf relo_core.c)."""

import re
from typing import NamedTuple

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreRelo, CoreReloKind
from xdploaderd.btf.types import Array, BtfKind, Enum
from xdploaderd.errors import CoreRelocationError

MAX_SPEC_LEN = 64  # BPF_CORE_SPEC_MAX_LEN
MAX_BIT_OFFSET = 1 << 32
ENUM_KINDS = frozenset({BtfKind.ENUM, BtfKind.ENUM64})
COMPOSITE_KINDS = frozenset({BtfKind.STRUCT, BtfKind.UNION})

_NUMBERS = re.compile(r"[0-9]{1,10}(:[0-9]{1,10})*", re.ASCII)
_LABELS = {
    CoreReloKind.FIELD_BYTE_OFFSET: "byte_off",
    CoreReloKind.FIELD_BYTE_SIZE: "byte_sz",
    CoreReloKind.FIELD_EXISTS: "field_exists",
    CoreReloKind.FIELD_SIGNED: "signed",
    CoreReloKind.FIELD_LSHIFT_U64: "lshift_u64",
    CoreReloKind.FIELD_RSHIFT_U64: "rshift_u64",
    CoreReloKind.TYPE_ID_LOCAL: "local_type_id",
    CoreReloKind.TYPE_ID_TARGET: "target_type_id",
    CoreReloKind.TYPE_EXISTS: "type_exists",
    CoreReloKind.TYPE_SIZE: "type_size",
    CoreReloKind.ENUMVAL_EXISTS: "enumval_exists",
    CoreReloKind.ENUMVAL_VALUE: "enumval_value",
    CoreReloKind.TYPE_MATCHES: "type_matches",
}
FIELD_KINDS = frozenset(kind for kind in CoreReloKind if kind <= CoreReloKind.FIELD_RSHIFT_U64)
ENUM_VALUE_KINDS = frozenset({CoreReloKind.ENUMVAL_EXISTS, CoreReloKind.ENUMVAL_VALUE})
TYPE_KINDS = frozenset(CoreReloKind) - FIELD_KINDS - ENUM_VALUE_KINDS


class CoreAccessor(NamedTuple):
    """One step of a spec (struct bpf_core_accessor): member or enumerator `name` of `type_id`; no name: array index."""

    type_id: int
    idx: int
    name: str = ""


class CoreSpec(NamedTuple):
    """struct bpf_core_spec: a type of `btf` and the way to one of its fields or enumerators.

    `raw` holds every index, steps through anonymous members included; `accessors` only named members and array
    elements. `bit_offset` counts from the start of the root type.
    """

    btf: Btf
    root_type_id: int
    kind: CoreReloKind
    accessors: tuple[CoreAccessor, ...] = ()
    raw: tuple[int, ...] = ()
    bit_offset: int = 0


def relo_kind(number: int) -> CoreReloKind:
    """Return the kind; CoreRelocationError for one newer than those known here."""
    try:
        return CoreReloKind(number)
    except ValueError:
        raise CoreRelocationError(f"kind {number} is unknown, want 0 to {max(CoreReloKind)}") from None


def parse_spec(btf: Btf, relo: CoreRelo) -> CoreSpec:
    """Return the access a record describes in the object's own types; CoreRelocationError when there is none."""
    kind = relo_kind(relo.kind)
    if kind in TYPE_KINDS:
        if relo.access_str != "0":
            raise CoreRelocationError(f"access string is '{relo.access_str}', want '0' for {label_of(kind)}")
        btf.name_of(relo.type_id)  # where there is no such type, or none that can be told of, this says so
        return CoreSpec(btf=btf, root_type_id=relo.type_id, kind=kind)
    raw = _parse_access_string(relo.access_str)
    if kind in ENUM_VALUE_KINDS:
        return _enum_spec(btf, relo.type_id, kind, raw)
    walk = SpecWalk(btf, relo.type_id, kind)
    walk.step_into_root(raw[0])
    for index in raw[1:]:
        _step_local(walk, index)
    return walk.spec()


def _parse_access_string(text: str) -> tuple[int, ...]:
    if not _NUMBERS.fullmatch(text):
        raise CoreRelocationError(f"access string is '{text}', want numbers joined by ':'")
    raw = tuple(map(int, text.split(":")))
    if len(raw) > MAX_SPEC_LEN:
        raise CoreRelocationError(f"access string has {len(raw)} numbers, want at most {MAX_SPEC_LEN}")
    return raw


def enum_at(btf: Btf, type_id: int) -> Enum:
    """Return the enum; CoreRelocationError when the type is none."""
    match btf.type_by_id(type_id):
        case Enum() as enum:
            return enum
        case other:
            raise CoreRelocationError(f"type [{type_id}] is a {kind_word(other.kind)}, want an enum")


def _enum_spec(btf: Btf, root_id: int, kind: CoreReloKind, raw: tuple[int, ...]) -> CoreSpec:
    enum_id = btf.skip_mods_and_typedefs(root_id)
    enum = enum_at(btf, enum_id)
    if len(raw) > 1 or raw[0] >= len(enum.values):
        raise CoreRelocationError(f"no enumerator {':'.join(map(str, raw))}: the enum has {len(enum.values)}")
    accessor = CoreAccessor(enum_id, raw[0], enum.values[raw[0]][0])
    return CoreSpec(btf=btf, root_type_id=root_id, kind=kind, accessors=(accessor,), raw=raw)


class SpecWalk:
    """A spec in the making: `type_id` is where the steps taken so far have led, and is never a typedef or modifier."""

    def __init__(self, btf: Btf, root_id: int, kind: CoreReloKind) -> None:
        self.btf = btf
        self.root_id = root_id
        self.kind = kind
        self.type_id = btf.skip_mods_and_typedefs(root_id)
        self.accessors: list[CoreAccessor] = []
        self.raw: list[int] = []
        self.bit_offset = 0

    def step_into_root(self, index: int) -> None:
        """Take the first number: the root type is regarded as an array of roots."""
        self._step(index, index * self.btf.size_of(self.type_id) * 8)
        self.accessors.append(CoreAccessor(self.type_id, index))

    def step_into_element(self, array: Array, index: int) -> None:
        """Go on to an element of the array this is at."""
        self.type_id = self.btf.skip_mods_and_typedefs(array.elem_type_id)
        self._step(index, index * self.btf.size_of(self.type_id) * 8)
        self.accessors.append(CoreAccessor(self.type_id, index))

    def step_into_member(self, index: int) -> None:
        """Go on to a member of the struct or union this is at; an anonymous one leaves no accessor."""
        member = self.btf.member_at(self.type_id, index)
        self._step(index, member.bit_offset)
        if member.name:
            self.accessors.append(CoreAccessor(self.type_id, index, member.name))
        self.type_id = self.btf.skip_mods_and_typedefs(member.type_id)

    def is_flexible(self, array: Array) -> bool:
        """Tell whether the array this is at is a flexible array member: of size 0, named, the last of its struct."""
        last = self.accessors[-1]
        if array.nelems or not last.name:
            return False
        return last.idx == self.btf.member_count(last.type_id) - 1

    def _step(self, index: int, bits: int) -> None:
        if len(self.raw) == MAX_SPEC_LEN:
            raise CoreRelocationError(f"access is nested over {MAX_SPEC_LEN} levels deep")
        self.raw.append(index)
        self.bit_offset += bits
        if self.bit_offset >= MAX_BIT_OFFSET:
            raise CoreRelocationError(f"access is {self.bit_offset // 8} bytes from the start, want below 512 MiB")

    def spec(self) -> CoreSpec:
        """Return the spec of the steps taken."""
        return CoreSpec(
            btf=self.btf,
            root_type_id=self.root_id,
            kind=self.kind,
            accessors=tuple(self.accessors),
            raw=tuple(self.raw),
            bit_offset=self.bit_offset,
        )


def _step_local(walk: SpecWalk, index: int) -> None:
    if walk.btf.kind_of(walk.type_id) in COMPOSITE_KINDS:
        count = walk.btf.member_count(walk.type_id)
        if index >= count:
            raise CoreRelocationError(f"no member {index}: type [{walk.type_id}] has {count}")
        walk.step_into_member(index)
        return
    match walk.btf.type_by_id(walk.type_id):
        case Array(nelems=nelems) as array:
            if index >= nelems and not walk.is_flexible(array):
                raise CoreRelocationError(f"no element {index}: type [{walk.type_id}] has {nelems}")
            walk.step_into_element(array, index)
        case other:
            raise CoreRelocationError(f"index {index} into type [{walk.type_id}], a {kind_word(other.kind)}")


def label_of(kind: CoreReloKind) -> str:
    """Return the word libbpf's log has for a kind."""
    return _LABELS[kind]


def kind_label(number: int) -> str:
    """Return libbpf's word for the number of a kind, the number itself for one unknown here."""
    return _LABELS[CoreReloKind(number)] if number in _LABELS else str(number)


def kind_word(kind: BtfKind) -> str:
    """Return the word libbpf's log has for a kind of type."""
    return kind.name.lower()


def format_spec(spec: CoreSpec) -> str:
    """Return libbpf's notation: `<byte_off> [8] struct sk_buff.len (0:6 @ offset 112)`."""
    root = format_type(spec.btf, spec.root_type_id)
    return f"<{label_of(spec.kind)}> [{spec.root_type_id}] {root}{_format_access(spec)}"


def format_type(btf: Btf, type_id: int) -> str:
    """Return kind and name of a type as libbpf's log has them: `struct sk_buff`."""
    return f"{kind_word(btf.kind_of(type_id))} {btf.name_of(type_id) or '<anon>'}"


def _format_access(spec: CoreSpec) -> str:
    if spec.kind in TYPE_KINDS:
        return ""
    if spec.kind in ENUM_VALUE_KINDS:
        return _format_enumerator(spec)
    path = "".join(
        f".{accessor.name}" if accessor.name else f"[{accessor.idx}]"
        for number, accessor in enumerate(spec.accessors)
        if accessor.name or number or accessor.idx
    )
    bits = f".{spec.bit_offset % 8}" if spec.bit_offset % 8 else ""
    return f"{path} ({':'.join(map(str, spec.raw))} @ offset {spec.bit_offset // 8}{bits})"


def _format_enumerator(spec: CoreSpec) -> str:
    enum = spec.btf.type_by_id(spec.btf.skip_mods_and_typedefs(spec.root_type_id))
    if not isinstance(enum, Enum) or not enum.values:
        return ""
    name, value = enum.values[spec.raw[0] if spec.raw else 0]
    if not enum.signed:
        value &= 0xFFFFFFFF if enum.kind is BtfKind.ENUM else 0xFFFFFFFFFFFFFFFF
    return f"::{name} = {value}"
