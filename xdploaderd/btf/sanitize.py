"""Rewrite an object's BTF so that an older kernel accepts it (libbpf libbpf.c, bpf_object__sanitize_btf)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

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
    """All types, which a DATASEC needs for the names of its variables, and the id of the type put for ENUM64 values."""

    types: Sequence[BtfType]
    placeholder_id: int

    def name_of(self, type_id: int) -> str:
        return self.types[type_id - 1].name if 0 < type_id <= len(self.types) else ""


def sanitize_types(types: Iterable[BtfType], features: FeatureSet) -> tuple[BtfType, ...]:
    """Return types, whose ids count from 1, as a kernel with `features` takes them; ids stay, one may be added."""
    known = tuple(types)
    rewrites = [(takes, rewrite) for feature, takes, rewrite in _REWRITES if feature not in features]
    if not rewrites:
        return known
    context = _Context(known, len(known) + 1)
    changed = [_rewritten(btf_type, rewrites, context) for btf_type in known]
    if Feature.BTF_ENUM64 not in features and any(t.kind is BtfKind.ENUM64 for t in known):
        changed.append(PLACEHOLDER)
    return tuple(changed)


_Takes = Callable[[BtfType], bool]
_Rewrite = Callable[[BtfType, _Context], BtfType]


def _rewritten(btf_type: BtfType, rewrites: Iterable[tuple[_Takes, _Rewrite]], context: _Context) -> BtfType:
    for takes, rewrite in rewrites:
        if takes(btf_type):
            return rewrite(btf_type, context)
    return btf_type


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
    return replace(btf_type, name="_" + btf_type.name[1:])


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
    return replace(btf_type, linkage=int(Linkage.STATIC)) if isinstance(btf_type, Func) else btf_type


def _float_to_struct(btf_type: BtfType, _: _Context) -> BtfType:
    # Anonymous: `float` is no name that a struct may have.
    return Composite(BtfKind.STRUCT, "", btf_type.size, ()) if isinstance(btf_type, Float) else btf_type


def _tag_to_const(btf_type: BtfType, _: _Context) -> BtfType:
    return Ref(BtfKind.CONST, "", btf_type.type_id) if isinstance(btf_type, Ref) else btf_type


def _unsigned_enum(btf_type: BtfType, _: _Context) -> BtfType:
    return replace(btf_type, signed=False) if isinstance(btf_type, Enum) else btf_type


def _enum64_to_union(btf_type: BtfType, context: _Context) -> BtfType:
    match btf_type:
        case Enum(name=name, size=size, values=values):
            members = tuple(Member(value_name, context.placeholder_id, 0, 0) for value_name, _ in values)
            return Composite(BtfKind.UNION, name, size, members)
        case _:
            return btf_type


def _of(kind: BtfKind) -> _Takes:
    return lambda btf_type: btf_type.kind is kind


def _is_question_datasec(btf_type: BtfType) -> bool:
    return isinstance(btf_type, Datasec) and btf_type.name.startswith("?")


# In libbpf's order: the first that applies to a type wins.
_REWRITES: tuple[tuple[Feature, _Takes, _Rewrite], ...] = (
    (Feature.BTF_DATASEC, _of(BtfKind.VAR), _to_int),
    (Feature.BTF_DECL_TAG, _of(BtfKind.DECL_TAG), _to_int),
    (Feature.BTF_DATASEC, _of(BtfKind.DATASEC), _datasec_to_struct),
    (Feature.BTF_QMARK_DATASEC, _is_question_datasec, _without_question_mark),
    (Feature.BTF_FUNC, _of(BtfKind.FUNC_PROTO), _proto_to_enum),
    (Feature.BTF_FUNC, _of(BtfKind.FUNC), _func_to_typedef),
    (Feature.BTF_GLOBAL_FUNC, _of(BtfKind.FUNC), _static_func),
    (Feature.BTF_FLOAT, _of(BtfKind.FLOAT), _float_to_struct),
    (Feature.BTF_TYPE_TAG, _of(BtfKind.TYPE_TAG), _tag_to_const),
    (Feature.BTF_ENUM64, _of(BtfKind.ENUM), _unsigned_enum),
    (Feature.BTF_ENUM64, _of(BtfKind.ENUM64), _enum64_to_union),
)
