"""A blob cut down to marked types and members, sizes and offsets kept (bpftool gen.c, btfgen_get_btf)."""

from collections.abc import Iterable, Mapping

from xdploaderd.btf.build import BtfBuilder
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.types import (
    Array,
    BtfType,
    Composite,
    Datasec,
    DeclTag,
    Func,
    FuncProto,
    Ref,
    Var,
)


class Marks:
    """What of a blob is to be kept: type ids, and for each struct or union its members by index."""

    __slots__ = ("members", "types")

    def __init__(self, types: Iterable[int] = ()) -> None:
        self.types = set(types)
        self.members: dict[int, set[int]] = {}

    def add_type(self, type_id: int) -> bool:
        """Mark a type and tell whether it was not marked before; void needs no mark."""
        if type_id == 0 or type_id in self.types:
            return False
        self.types.add(type_id)
        return True

    def add_member(self, type_id: int, index: int) -> None:
        """Mark member `index` of a struct or union."""
        self.members.setdefault(type_id, set()).add(index)


def subset(btf: Btf, marks: Marks) -> bytes:
    """Return a blob of the marked types, in the order of their ids; a reference to any other type becomes void.

    A struct or union keeps its size, and of its members the marked ones, at their offsets. Raises BtfError for a mark
    that is no type of `btf`.
    """
    kept = sorted(marks.types)
    new_ids = {old: new for new, old in enumerate(kept, 1)}
    builder = BtfBuilder()
    for type_id in kept:
        kept_type = _without_members(btf.type_by_id(type_id), marks.members.get(type_id, set()))
        builder.add(_renumbered(kept_type, new_ids))
    return builder.encode(btf.byteorder)


def _without_members(btf_type: BtfType, indices: set[int]) -> BtfType:
    match btf_type:
        case Composite(members=members):
            left = tuple(members[index] for index in sorted(indices))
            # An offset inside a byte can be told only as that of a bit field.
            return btf_type._replace(members=left, kflag=any(m.bitfield_size or m.bit_offset % 8 for m in left))
        case _:
            return btf_type


def _renumbered(btf_type: BtfType, new_ids: Mapping[int, int]) -> BtfType:
    match btf_type:
        case Composite(members=members):
            return btf_type._replace(members=tuple(m._replace(type_id=new_ids.get(m.type_id, 0)) for m in members))
        case Array(elem_type_id=elem, index_type_id=index):
            return btf_type._replace(elem_type_id=new_ids.get(elem, 0), index_type_id=new_ids.get(index, 0))
        case FuncProto(return_type_id=result, params=params):
            renumbered = tuple((name, new_ids.get(type_id, 0)) for name, type_id in params)
            return btf_type._replace(return_type_id=new_ids.get(result, 0), params=renumbered)
        case Datasec(vars=variables):
            return btf_type._replace(vars=tuple(v._replace(type_id=new_ids.get(v.type_id, 0)) for v in variables))
        case Ref(type_id=type_id) | Func(type_id=type_id) | Var(type_id=type_id) | DeclTag(type_id=type_id):
            return btf_type._replace(type_id=new_ids.get(type_id, 0))
        case _:
            return btf_type
