"""Rewrite an object's BTF so that an older kernel accepts it (libbpf libbpf.c, bpf_object__sanitize_btf)."""

from collections.abc import Callable
from dataclasses import dataclass

from xdploaderd.btf.edit import BtfEdit
from xdploaderd.btf.types import (
    BtfKind,
    BtfType,
    Composite,
    Datasec,
    Enum,
    Float,
    Func,
    FuncProto,
    Int,
    Linkage,
    Member,
    Ref,
)
from xdploaderd.uapi.bpf import Feature, FeatureSet

PLACEHOLDER = Int("enum64_placeholder", 1, 0, 0, 8)
_VISIBLE_MARKS = str.maketrans(".?", "__")


@dataclass(frozen=True, slots=True)
class _Context:
    """The types as they were, and the id of the type put for ENUM64 values."""

    types: BtfEdit
    placeholder_id: int

    def name_of(self, type_id: int) -> str:
        return self.types[type_id].name if 0 < type_id < self.placeholder_id else ""


_Rewrite = Callable[[BtfType, _Context], BtfType]


def sanitize_types(types: BtfEdit, features: FeatureSet) -> None:
    """Replace the types that a kernel with `features` does not take; ids stay, one type may be added."""
    rewrites: dict[BtfKind, _Rewrite] = {}
    for feature, kind, rewrite in _REWRITES:
        if feature not in features:
            rewrites.setdefault(kind, rewrite)
    context = _Context(types, len(types))
    changed = {
        type_id: rewrite(btf_type, context)
        for kind, rewrite in rewrites.items()
        for type_id, btf_type in types.of_kind(kind)
    }
    wide = BtfKind.ENUM64 in rewrites and next(types.of_kind(BtfKind.ENUM64), None)
    for type_id, btf_type in changed.items():
        types[type_id] = btf_type
    if wide:
        types.add(PLACEHOLDER)


def _to_int(btf_type: BtfType, _: _Context) -> BtfType:
    # One byte is the safe choice: a larger one could overlap the next variable of the struct a DATASEC becomes.
    return Int(btf_type.name, 1, 0, 0, 8)


def _datasec_to_struct(btf_type: BtfType, context: _Context) -> BtfType:
    match btf_type:
        case Datasec(name=name, size=size, vars=rows):
            members = tuple(Member(context.name_of(row.type_id), row.type_id, row.offset * 8, 0) for row in rows)
            return Composite(BtfKind.STRUCT, name.translate(_VISIBLE_MARKS), size, members)
        case _:
            return btf_type


def _without_question_mark(btf_type: BtfType, _: _Context) -> BtfType:
    return btf_type._replace(name="_" + btf_type.name[1:]) if btf_type.name.startswith("?") else btf_type


def _proto_to_enum(btf_type: BtfType, _: _Context) -> BtfType:
    match btf_type:
        case FuncProto(params=params):
            return Enum(BtfKind.ENUM, "", 4, False, params)
        case _:
            return btf_type


def _func_to_typedef(btf_type: BtfType, _: _Context) -> BtfType:
    match btf_type:
        case Func(name=name, type_id=type_id):
            return Ref(BtfKind.TYPEDEF, name, type_id)
        case _:
            return btf_type


def _static_func(btf_type: BtfType, _: _Context) -> BtfType:
    return btf_type._replace(linkage=int(Linkage.STATIC)) if isinstance(btf_type, Func) else btf_type


def _float_to_struct(btf_type: BtfType, _: _Context) -> BtfType:
    # Anonymous: `float` is no name that a struct may have.
    return Composite(BtfKind.STRUCT, "", btf_type.size, ()) if isinstance(btf_type, Float) else btf_type


def _tag_to_const(btf_type: BtfType, _: _Context) -> BtfType:
    return Ref(BtfKind.CONST, "", btf_type.type_id) if isinstance(btf_type, Ref) else btf_type


def _unsigned_enum(btf_type: BtfType, _: _Context) -> BtfType:
    return btf_type._replace(signed=False) if isinstance(btf_type, Enum) else btf_type


def _enum64_to_union(btf_type: BtfType, context: _Context) -> BtfType:
    match btf_type:
        case Enum(name=name, size=size, values=values):
            members = tuple(Member(value_name, context.placeholder_id, 0, 0) for value_name, _ in values)
            return Composite(BtfKind.UNION, name, size, members)
        case _:
            return btf_type


# In libbpf's order: of a kind, the first one whose feature is missing is done.
_REWRITES: tuple[tuple[Feature, BtfKind, _Rewrite], ...] = (
    (Feature.BTF_DATASEC, BtfKind.VAR, _to_int),
    (Feature.BTF_DECL_TAG, BtfKind.DECL_TAG, _to_int),
    (Feature.BTF_DATASEC, BtfKind.DATASEC, _datasec_to_struct),
    (Feature.BTF_QMARK_DATASEC, BtfKind.DATASEC, _without_question_mark),
    (Feature.BTF_FUNC, BtfKind.FUNC_PROTO, _proto_to_enum),
    (Feature.BTF_FUNC, BtfKind.FUNC, _func_to_typedef),
    (Feature.BTF_GLOBAL_FUNC, BtfKind.FUNC, _static_func),
    (Feature.BTF_FLOAT, BtfKind.FLOAT, _float_to_struct),
    (Feature.BTF_TYPE_TAG, BtfKind.TYPE_TAG, _tag_to_const),
    (Feature.BTF_ENUM64, BtfKind.ENUM, _unsigned_enum),
    (Feature.BTF_ENUM64, BtfKind.ENUM64, _enum64_to_union),
)
