"""Candidates of a local type in the targets, and a local access spec carried over to one (libbpf relo_core.c)."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.btf.names import essential_name
from xdploaderd.btf.types import Array, BtfKind, Composite, Enum
from xdploaderd.errors import CoreRelocationError
from xdploaderd.relo_core.budget import CANDIDATE, Budget
from xdploaderd.relo_core.compat import fields_are_compatible, types_are_compatible, types_match
from xdploaderd.relo_core.spec import (
    ENUM_KINDS,
    ENUM_VALUE_KINDS,
    MAX_SPEC_LEN,
    TYPE_KINDS,
    CoreAccessor,
    CoreSpec,
    SpecWalk,
)


class Candidate(NamedTuple):
    """A target's type of the same kind and essential name as a local one."""

    btf: Btf
    type_id: int


class Match(NamedTuple):
    """What a candidate makes of a local spec: the target's spec when `mismatch` is empty, else how far it went."""

    spec: CoreSpec
    mismatch: str = ""


def find_candidates(local: Btf, type_id: int, targets: Sequence[Btf]) -> tuple[Candidate, ...]:
    """Return the types that may stand for a local one, by ascending id.

    Modules, the targets after the first, are searched only when the first (vmlinux, or the user's own) has none.
    """
    name = local.name_of(type_id)
    if not name:
        raise CoreRelocationError(f"type [{type_id}] has no name to look for in the kernel's types")
    kind = local.kind_of(type_id)
    kinds = ENUM_KINDS if kind in ENUM_KINDS else {kind}
    wanted = essential_name(name)
    first = _candidates_in(targets[:1], wanted, kinds)
    return first or _candidates_in(targets[1:], wanted, kinds)


def _candidates_in(targets: Sequence[Btf], name: str, kinds: Collection[BtfKind]) -> tuple[Candidate, ...]:
    return tuple(Candidate(btf, found) for btf in targets for found in btf.ids_by_essential_name(name, kinds))


def match_spec(local: CoreSpec, candidate: Candidate, budget: Budget) -> Match:
    """Carry a local access over to a candidate."""
    budget.take(CANDIDATE)
    if local.kind in TYPE_KINDS:
        return _match_type(local, candidate, budget)
    if local.kind in ENUM_VALUE_KINDS:
        return _match_enumerator(local, candidate, budget)
    return _FieldMatch(local, candidate, budget).run()


def _match_type(local: CoreSpec, candidate: Candidate, budget: Budget) -> Match:
    spec = CoreSpec(btf=candidate.btf, root_type_id=candidate.type_id, kind=local.kind)
    by_layout = local.kind is CoreReloKind.TYPE_MATCHES
    compare = types_match if by_layout else types_are_compatible
    if compare(local.btf, local.root_type_id, candidate.btf, candidate.type_id, budget):
        return Match(spec)
    return Match(spec, "the types do not match" if by_layout else "the types are not compatible")


def _match_enumerator(local: CoreSpec, candidate: Candidate, budget: Budget) -> Match:
    spec = CoreSpec(btf=candidate.btf, root_type_id=candidate.type_id, kind=local.kind)
    enum_id = candidate.btf.skip_mods_and_typedefs(candidate.type_id)
    enum = candidate.btf.type_by_id(enum_id)
    if not isinstance(enum, Enum):
        return Match(spec, "it is no enum")
    budget.take_members(len(enum.values))
    wanted = essential_name(local.accessors[0].name)
    for index, (name, _) in enumerate(enum.values):
        if essential_name(name) == wanted:
            accessor = CoreAccessor(enum_id, index, name)
            return Match(
                CoreSpec(
                    btf=candidate.btf,
                    root_type_id=candidate.type_id,
                    kind=local.kind,
                    accessors=(accessor,),
                    raw=(index,),
                )
            )
    return Match(spec, f"it has no enumerator '{wanted}'")


class _FieldMatch:
    """The walk through a candidate along the names and indices of a local spec."""

    def __init__(self, local: CoreSpec, candidate: Candidate, budget: Budget) -> None:
        self._local = local
        self._walk = SpecWalk(candidate.btf, candidate.type_id, local.kind)
        self._budget = budget

    def run(self) -> Match:
        first, *others = self._local.accessors
        self._walk.step_into_root(first.idx)
        for accessor in others:
            mismatch = self._step_by_name(accessor) if accessor.name else self._step_by_index(accessor)
            if mismatch:
                return Match(self._walk.spec(), mismatch)
        return Match(self._walk.spec())

    def _step_by_index(self, accessor: CoreAccessor) -> str:
        array = self._walk.btf.type_by_id(self._walk.type_id)
        if not isinstance(array, Array):
            return f"what [{accessor.idx}] is taken of is no array"
        if accessor.idx >= array.nelems and not self._walk.is_flexible(array):
            return f"its array has {array.nelems} elements, none at {accessor.idx}"
        self._walk.step_into_element(array, accessor.idx)
        return ""

    def _step_by_name(self, accessor: CoreAccessor) -> str:
        composite = self._walk.btf.type_by_id(self._walk.type_id)
        if not isinstance(composite, Composite):
            return f"what has member '{accessor.name}' here is no struct or union there"
        path = self._find_member(self._walk.type_id, accessor.name)
        if not path:
            return f"it has no member '{accessor.name}'"
        holder_id, index = path[-1]
        member = self._local.btf.member_at(accessor.type_id, accessor.idx)
        other = self._walk.btf.member_at(holder_id, index)
        if not fields_are_compatible(self._local.btf, member.type_id, self._walk.btf, other.type_id):
            return f"its member '{accessor.name}' is of another kind"
        for _, step in path:
            self._walk.step_into_member(step)
        return ""

    def _find_member(self, type_id: int, name: str, depth: int = 0) -> list[tuple[int, int]]:
        """Return (composite, index) of each member on the way to the first one called `name`; empty: there is none."""
        composite = self._walk.btf.type_by_id(type_id)
        if not isinstance(composite, Composite):
            return []
        self._budget.take_members(len(composite.members))
        if depth > MAX_SPEC_LEN:
            raise CoreRelocationError(f"the candidate's anonymous members are nested over {MAX_SPEC_LEN} levels deep")
        for index, member in enumerate(composite.members):
            if member.name == name:
                return [(type_id, index)]
            if not member.name:
                inner_id = self._walk.btf.skip_mods_and_typedefs(member.type_id)
                if rest := self._find_member(inner_id, name, depth + 1):
                    return [(type_id, index), *rest]
        return []
