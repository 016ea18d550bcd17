"""Which types and members of a target one CO-RE decision rests on (bpftool gen.c, btfgen_record_*)."""

from collections.abc import Iterator

from xdploaderd.btf.codec import MODS_AND_TYPEDEFS, Btf
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.btf.subset import Marks
from xdploaderd.btf.types import Array, BtfKind, Composite, FuncProto, Ref
from xdploaderd.relo_core.decision import CoreDecision
from xdploaderd.relo_core.spec import ENUM_VALUE_KINDS, FIELD_KINDS

_Step = tuple[int, bool]  # a type id, and whether what a pointer leads to is wanted whole


class UsedTypes:
    """Marks in one target what decisions use, so that the target's subset gives each record the value it has there."""

    def __init__(self, target: Btf) -> None:
        self._target = target
        self._walked: set[_Step] = set()
        self._matched: set[_Step] = set()
        self.marks = Marks()

    def add(self, decision: CoreDecision) -> None:
        """Mark what a decision found in the target; nothing for one that found nothing or looked for nothing."""
        if decision.target is None:
            return
        root_id = decision.target.type_id
        if decision.kind in FIELD_KINDS:
            self._mark(root_id, through_pointers=False)
            self._mark_path(root_id, decision.target.raw)
        elif decision.kind in ENUM_VALUE_KINDS:
            self._mark(root_id, through_pointers=False)
        elif decision.kind is CoreReloKind.TYPE_MATCHES:
            self._mark_whole(root_id)
        else:
            self._mark(root_id, through_pointers=True)

    def _mark_path(self, type_id: int, raw: tuple[int, ...]) -> None:
        for index in raw[1:]:
            type_id = self._target.skip_mods_and_typedefs(type_id)
            match self._target.type_by_id(type_id):
                case Composite(members=members):
                    self.marks.add_member(type_id, index)
                    type_id = members[index].type_id
                    self._mark(type_id, through_pointers=False)
                case Array(elem_type_id=type_id):
                    pass
                case other:
                    raise AssertionError(f"a path leads through a {other.kind.name.lower()}")

    def _mark(self, type_id: int, *, through_pointers: bool) -> None:
        """Mark a type and what its name or shape rests on; structs and unions stay without members."""
        todo = [type_id]
        while todo:
            step = todo.pop(), through_pointers
            if step in self._walked:
                continue
            self._walked.add(step)
            self.marks.add_type(step[0])
            todo += self._needed_by(*step)

    def _needed_by(self, type_id: int, through_pointers: bool) -> tuple[int, ...]:
        match self._target.type_by_id(type_id):
            case Ref(kind=BtfKind.PTR, type_id=pointee):
                return (pointee,) if through_pointers else ()
            case Ref(type_id=next_id):
                return (next_id,)
            case Array(elem_type_id=elem, index_type_id=index):
                return elem, index
            case FuncProto(return_type_id=result, params=params):
                return result, *(param for _, param in params)
            case _:
                return ()

    def _mark_whole(self, type_id: int) -> None:
        """Mark a type with all members, and of what stands behind pointers the names alone."""
        todo = [(type_id, False)]
        while todo:
            step = todo.pop()
            if step in self._matched:
                continue
            self._matched.add(step)
            self.marks.add_type(step[0])
            todo += self._matched_by(*step)

    def _matched_by(self, type_id: int, behind_pointer: bool) -> Iterator[_Step]:
        match self._target.type_by_id(type_id):
            case Composite(members=members) if not behind_pointer:
                for index, member in enumerate(members):
                    self.marks.add_member(type_id, index)
                    yield member.type_id, False
            case Ref(kind=kind, type_id=next_id):
                yield next_id, kind not in MODS_AND_TYPEDEFS or behind_pointer
            case Array(elem_type_id=elem, index_type_id=index):
                yield from ((elem, False), (index, False))
            case FuncProto(return_type_id=result, params=params):
                yield from ((part, False) for part in (result, *(param for _, param in params)))
