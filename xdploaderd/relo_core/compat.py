"""When a local type and a target's are compatible, or match (libbpf relo_core.c, bpf_core_types_are_compat, _match).

Both walks follow libbpf's limits of 32 levels and 32 steps; a budget bounds the number of all comparisons besides,
since functions of functions would otherwise make it exponential.
"""

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.names import essential_name
from xdploaderd.btf.types import (
    Array,
    BtfKind,
    BtfType,
    Composite,
    Enum,
    Float,
    FuncProto,
    Fwd,
    Int,
    IntEncoding,
    Ref,
    Void,
)
from xdploaderd.errors import CoreRelocationError
from xdploaderd.relo_core.budget import COMPARISON, Budget
from xdploaderd.relo_core.spec import COMPOSITE_KINDS, ENUM_KINDS

MAX_LEVELS = 32
MAX_STEPS = 32


def kinds_agree(a: BtfKind, b: BtfKind) -> bool:
    """Tell whether two kinds are the same; ENUM and ENUM64 count as one."""
    return a is b or (a in ENUM_KINDS and b in ENUM_KINDS)


def types_are_compatible(local: Btf, local_id: int, target: Btf, target_id: int, budget: Budget | None = None) -> bool:
    """Compare shapes, names ignored below the root: bpf_core_type_exists(), and externs against the kernel's types."""
    comparison = _Compatible(local, target, budget or Budget())
    return kinds_agree(local.kind_of(local_id), target.kind_of(target_id)) and comparison.compare(
        local_id, target_id, MAX_LEVELS
    )


def types_match(local: Btf, local_id: int, target: Btf, target_id: int, budget: Budget | None = None) -> bool:
    """Compare names and layouts of all that the local type has: bpf_core_type_matches()."""
    comparison = _Matching(local, target, budget or Budget())
    return comparison.compare(local_id, target_id, MAX_LEVELS, behind_ptr=False)


def fields_are_compatible(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Tell whether a member of the one type may be read as a member of the other."""
    for _ in range(MAX_STEPS):
        local_id, target_id = local.skip_mods_and_typedefs(local_id), target.skip_mods_and_typedefs(target_id)
        if local.kind_of(local_id) in COMPOSITE_KINDS:  # whose members need not be decoded for this
            return target.kind_of(target_id) in COMPOSITE_KINDS
        mine, other = local.type_by_id(local_id), target.type_by_id(target_id)
        match mine, other:
            case (Float(), Float()) | (Ref(), Ref()):  # only pointers are left of Ref
                return True
            case Int(), Int():
                return not mine.bit_offset and not other.bit_offset
            case (Enum(), Enum()) | (Fwd(), Fwd()):
                return _names_agree_or_anonymous(mine.name, other.name)
            case Array(), Array():
                local_id, target_id = mine.elem_type_id, other.elem_type_id
            case _:
                return False
    raise _too_deep()


def _names_agree_or_anonymous(mine: str, other: str) -> bool:
    return not mine or not other or _names_match(mine, other)


def _names_match(mine: str, other: str) -> bool:
    return essential_name(mine) == essential_name(other)


def _too_deep() -> CoreRelocationError:
    return CoreRelocationError(f"types are nested over {MAX_STEPS} levels deep")


class _Comparison:
    """Two blobs, and how much work comparing their types may still make."""

    def __init__(self, local: Btf, target: Btf, budget: Budget) -> None:
        self._local = local
        self._target = target
        self._budget = budget

    def _resolve(self, local_id: int, target_id: int) -> tuple[BtfType, BtfType]:
        self._budget.take(COMPARISON)
        local, target = self._local, self._target
        return (
            local.type_by_id(local.skip_mods_and_typedefs(local_id)),
            target.type_by_id(target.skip_mods_and_typedefs(target_id)),
        )


class _Compatible(_Comparison):
    """__bpf_core_types_are_compat."""

    def compare(self, local_id: int, target_id: int, level: int) -> bool:
        for _ in range(MAX_STEPS):
            mine, other = self._resolve(local_id, target_id)
            match mine, other:
                case Int(), Int():
                    return not mine.bit_offset and not other.bit_offset
                case Ref(), Ref():  # only pointers are left of Ref
                    local_id, target_id = mine.type_id, other.type_id
                case Array(), Array():
                    local_id, target_id = mine.elem_type_id, other.elem_type_id
                case FuncProto(), FuncProto():
                    if not self._params(mine, other, level):
                        return False
                    local_id, target_id = mine.return_type_id, other.return_type_id
                case (Void(), Void()) | (Composite(), Composite()) | (Enum(), Enum()) | (Fwd(), Fwd()):
                    return kinds_agree(mine.kind, other.kind)
                case _:
                    return False
        raise _too_deep()

    def _params(self, mine: FuncProto, other: FuncProto, level: int) -> bool:
        if len(mine.params) != len(other.params):
            return False
        if mine.params and level <= 0:
            raise _too_deep()
        return all(
            self.compare(local_id, target_id, level - 1)
            for (_, local_id), (_, target_id) in zip(mine.params, other.params, strict=True)
        )


class _Matching(_Comparison):
    """__bpf_core_types_match."""

    def __init__(self, local: Btf, target: Btf, budget: Budget) -> None:
        super().__init__(local, target, budget)
        self._known: dict[tuple[int, int, int], bool] = {}

    def compare(self, local_id: int, target_id: int, level: int, *, behind_ptr: bool) -> bool:
        if level <= 0:
            raise _too_deep()
        for _ in range(MAX_STEPS):
            mine, other = self._resolve(local_id, target_id)
            if not _names_match(mine.name, other.name):
                return False
            match mine, other:
                case Ref(), Ref():  # only pointers are left of Ref
                    behind_ptr = True
                    local_id, target_id = mine.type_id, other.type_id
                case Array(), Array():
                    if mine.nelems != other.nelems:
                        return False
                    local_id, target_id = mine.elem_type_id, other.elem_type_id
                case FuncProto(), FuncProto():
                    if not self._params(mine, other, level, behind_ptr=behind_ptr):
                        return False
                    local_id, target_id = mine.return_type_id, other.return_type_id
                case _:
                    return self._leaves(mine, other, level, behind_ptr=behind_ptr)
        raise _too_deep()

    def _leaves(self, mine: BtfType, other: BtfType, level: int, *, behind_ptr: bool) -> bool:
        match mine, other:
            case Void(), Void():
                return True
            case Int(), Int():
                sign = IntEncoding.SIGNED
                return mine.size == other.size and mine.encoding & sign == other.encoding & sign
            case Enum(), Enum():
                return _enums_match(mine, other)
            case (Fwd(), Fwd() | Composite()) | (Composite(), Fwd()):
                return _forward_matches(mine, other, behind_ptr=behind_ptr)
            case Composite(), Composite():
                return mine.kind is other.kind and (behind_ptr or self._members(mine, other, level))
            case _:
                return False

    def _params(self, mine: FuncProto, other: FuncProto, level: int, *, behind_ptr: bool) -> bool:
        return len(mine.params) == len(other.params) and all(
            self.compare(local_id, target_id, level - 1, behind_ptr=behind_ptr)
            for (_, local_id), (_, target_id) in zip(mine.params, other.params, strict=True)
        )

    def _members(self, mine: Composite, other: Composite, level: int) -> bool:
        if len(mine.members) > len(other.members):
            return False
        self._budget.take_members(len(other.members))
        there: dict[str, list[int]] = {}
        for candidate in other.members:
            there.setdefault(essential_name(candidate.name), []).append(candidate.type_id)
        return all(
            any(
                self._pair(member.type_id, type_id, level - 1) for type_id in there.get(essential_name(member.name), ())
            )
            for member in mine.members
        )

    def _pair(self, local_id: int, target_id: int, level: int) -> bool:
        """Compare the types of two members; many members are of the same few types."""
        key = local_id, target_id, level
        if key not in self._known:
            self._known[key] = self.compare(local_id, target_id, level, behind_ptr=False)
        return self._known[key]


def _enums_match(mine: Enum, other: Enum) -> bool:
    if mine.size != other.size or len(mine.values) > len(other.values):
        return False
    there = {essential_name(name) for name, _ in other.values}
    return all(essential_name(name) in there for name, _ in mine.values)


def _forward_matches(mine: BtfType, other: BtfType, *, behind_ptr: bool) -> bool:
    """Compare two types, at least one of them only declared; behind a pointer a declaration stands for a body."""
    if isinstance(mine, Fwd) and isinstance(other, Fwd):
        return mine.union == other.union
    return behind_ptr and _is_union(mine) == _is_union(other)


def _is_union(composite: BtfType) -> bool:
    return composite.union if isinstance(composite, Fwd) else composite.kind is BtfKind.UNION
