"""Which types of a target a decision needs, by kind of record."""

from tests.builders.btf import S32, U32, btf_of, member, ptr, struct, typedef
from tests.builders.core import decide
from xdploaderd.btf.codec import Btf
from xdploaderd.btf.ext import CoreReloKind
from xdploaderd.btf.types import Array, BtfKind, BtfType, Enum, FuncProto, Fwd, Ref
from xdploaderd.relo_core.used_types import UsedTypes

K = CoreReloKind


def used(local: Btf, target: Btf, kind: CoreReloKind, type_id: int, access: str = "0") -> UsedTypes:
    found = UsedTypes(target)
    found.add(decide(local, [target], kind, type_id, access))
    return found


SHAPES: tuple[BtfType, ...] = (
    S32,  # 1
    struct("inner", 8, member("a", 1), member("b", 1, 4)),  # 2
    Array(2, 1, 4),  # 3
    struct("far", 4, member("x", 1)),  # 4
    ptr(4),  # 5
    struct("", 40, member("items", 3), member("link", 5, 32)),  # 6
    typedef("t", 7),  # 7 -> 8
    struct("root", 48, member("", 6), member("n", 1, 40)),  # 8
)


def shapes() -> Btf:
    fixed = list(SHAPES)
    fixed[6] = typedef("t", 8)
    return btf_of(*fixed)


def test_field_marks_the_path_and_the_type_at_its_end() -> None:
    marks = used(shapes(), shapes(), K.FIELD_BYTE_OFFSET, 8, "0:0:0:2:1").marks
    assert marks.types == {8, 6, 3, 2, 1}
    assert marks.members == {8: {0}, 6: {0}, 2: {1}}


def test_field_through_a_typedef_marks_the_typedef_too() -> None:
    marks = used(shapes(), shapes(), K.FIELD_EXISTS, 7, "0:1").marks
    assert marks.types == {7, 8, 1}
    assert marks.members == {8: {1}}


def test_pointer_at_the_end_of_a_path_is_not_followed() -> None:
    marks = used(shapes(), shapes(), K.FIELD_BYTE_SIZE, 8, "0:0:1").marks
    assert marks.types == {8, 6, 5}


def test_type_itself_is_kept_without_members() -> None:
    for kind in (K.TYPE_EXISTS, K.TYPE_SIZE, K.TYPE_ID_TARGET):
        marks = used(shapes(), shapes(), kind, 8).marks
        assert marks.types == {8}
        assert not marks.members


def test_type_behind_pointers_is_kept_where_the_type_itself_is_asked_for() -> None:
    blob = btf_of(S32, ptr(3), struct("s", 4, member("x", 1)), FuncProto(2, (("p", 2),)), ptr(4), typedef("fn", 5))
    marks = used(blob, blob, K.TYPE_EXISTS, 6).marks
    assert marks.types == {6, 5, 4, 2, 3}
    assert not marks.members


def test_matching_keeps_all_members_but_only_names_behind_pointers() -> None:
    blob = shapes()
    marks = used(blob, blob, K.TYPE_MATCHES, 8).marks
    assert marks.types == {8, 6, 3, 2, 1, 5, 4}
    assert marks.members == {8: {0, 1}, 6: {0, 1}, 2: {0, 1}}


def test_type_that_holds_itself_through_a_function_ends() -> None:
    blob = btf_of(S32, struct("ops", 8, member("run", 3)), ptr(4), FuncProto(1, (("self", 2),)))
    marks = used(blob, blob, K.TYPE_MATCHES, 2).marks
    assert marks.types == {1, 2, 3, 4}


def test_declared_types_and_tags_are_kept_by_name() -> None:
    blob = btf_of(Fwd("later", union=False), Ref(BtfKind.TYPE_TAG, "user", 1), ptr(2), typedef("handle", 3))
    assert used(blob, blob, K.TYPE_EXISTS, 4).marks.types == {1, 2, 3, 4}
    assert used(blob, blob, K.TYPE_MATCHES, 4).marks.types == {1, 2, 3, 4}


def test_enumerator_keeps_its_enum() -> None:
    blob = btf_of(U32, Enum(BtfKind.ENUM, "e", 4, False, (("A", 1), ("B", 2))))
    assert used(blob, blob, K.ENUMVAL_VALUE, 2, "1").marks.types == {2}


def test_record_that_finds_nothing_needs_nothing() -> None:
    local = btf_of(S32, struct("missing", 4, member("x", 1)))
    target = btf_of(S32)
    for kind in (K.TYPE_EXISTS, K.FIELD_EXISTS, K.TYPE_ID_LOCAL):
        assert not used(local, target, kind, 2).marks.types
