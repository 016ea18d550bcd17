"""BTF types as values: one class for each shape of record (include/uapi/linux/btf.h).

Named tuples, `kind` among their fields so that no two shapes are equal: a dataclass takes five times as long to define,
which short commands feel, and half as long again to make.
"""

from enum import IntEnum
from typing import NamedTuple


class BtfKind(IntEnum):
    """BTF_KIND_*."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class IntEncoding(IntEnum):
    """Bits of BTF_INT_ENCODING."""

    SIGNED = 1
    CHAR = 2
    BOOL = 4


class Linkage(IntEnum):
    """BTF_FUNC_* and BTF_VAR_* linkage."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class Void(NamedTuple):
    """Type id 0."""

    kind: BtfKind = BtfKind.VOID
    name: str = ""


class Int(NamedTuple):
    """BTF_KIND_INT; size in bytes, bit_offset and bits in bits."""

    name: str
    size: int
    encoding: int
    bit_offset: int
    bits: int
    kind: BtfKind = BtfKind.INT


class Float(NamedTuple):
    """BTF_KIND_FLOAT."""

    name: str
    size: int
    kind: BtfKind = BtfKind.FLOAT


class Ref(NamedTuple):
    """PTR, TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG: a name (maybe empty) for another type."""

    kind: BtfKind
    name: str
    type_id: int
    kflag: bool = False


class Array(NamedTuple):
    """struct btf_array."""

    elem_type_id: int
    index_type_id: int
    nelems: int
    kind: BtfKind = BtfKind.ARRAY
    name: str = ""


class Member(NamedTuple):
    """struct btf_member with the offset word taken apart; bitfield_size 0: no bit field."""

    name: str
    type_id: int
    bit_offset: int
    bitfield_size: int


class Composite(NamedTuple):
    """BTF_KIND_STRUCT or UNION; size in bytes, kflag as in the record."""

    kind: BtfKind
    name: str
    size: int
    members: tuple[Member, ...]
    kflag: bool = False


class Enum(NamedTuple):
    """BTF_KIND_ENUM or ENUM64; values are signed when `signed`, and sign-extended from 32 bits as libbpf reads them."""

    kind: BtfKind
    name: str
    size: int
    signed: bool
    values: tuple[tuple[str, int], ...]


class Fwd(NamedTuple):
    """BTF_KIND_FWD: a struct, or a union when `union`, that is only declared."""

    name: str
    union: bool
    kind: BtfKind = BtfKind.FWD


class Func(NamedTuple):
    """BTF_KIND_FUNC; type_id names its FUNC_PROTO."""

    name: str
    type_id: int
    linkage: int
    kind: BtfKind = BtfKind.FUNC


class FuncProto(NamedTuple):
    """BTF_KIND_FUNC_PROTO; params are (name, type id)."""

    return_type_id: int
    params: tuple[tuple[str, int], ...]
    kind: BtfKind = BtfKind.FUNC_PROTO
    name: str = ""


class Var(NamedTuple):
    """BTF_KIND_VAR."""

    name: str
    type_id: int
    linkage: int
    kind: BtfKind = BtfKind.VAR


class SecVar(NamedTuple):
    """struct btf_var_secinfo; offset and size in bytes."""

    type_id: int
    offset: int
    size: int


class Datasec(NamedTuple):
    """BTF_KIND_DATASEC."""

    name: str
    size: int
    vars: tuple[SecVar, ...]
    kind: BtfKind = BtfKind.DATASEC


class DeclTag(NamedTuple):
    """BTF_KIND_DECL_TAG; component -1: the type as a whole."""

    name: str
    type_id: int
    component: int
    kflag: bool = False
    kind: BtfKind = BtfKind.DECL_TAG


BtfType = Void | Int | Float | Ref | Array | Composite | Enum | Fwd | Func | FuncProto | Var | Datasec | DeclTag
